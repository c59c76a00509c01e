-- :Hob shows the services of the project.
vim.api.nvim_create_user_command('Hob', function()
  local text = vim.fn.system { require('hob').hob or 'hob', 'ps' }
  vim.api.nvim_echo({ { text } }, false, {})
end, { desc = 'the services of this project' })
