-- :Hob is "hob ps" for the project of the current file, and ":Hob logs gopls" any other call.
if vim.g.loaded_hob then
  return
end
vim.g.loaded_hob = true

vim.api.nvim_create_user_command('Hob', function(command)
  require('hob').run(command.fargs)
end, { nargs = '*', desc = 'hob, in the project of the current file' })
