-- A window that a test opens: it edits FILE with the plugin in PLUGIN, asks where the word at LINE and COLUMN is defined, writes the
-- answer to RESULT, and stays until there is a file QUIT.
local env = vim.env
vim.opt.runtimepath:append(env.PLUGIN)
vim.cmd('runtime plugin/hob.lua')
local said = {}
vim.notify = function(text)
  table.insert(said, text)
end
require('hob').setup { hob = env.HOB, servers = { gopls = { idle = '300ms', cmd = vim.fn.json_decode(env.SERVER) } } }

local function answer()
  vim.cmd('edit ' .. vim.fn.fnameescape(env.FILE))
  local attached = vim.wait(60000, function()
    return #said > 0 or #vim.lsp.buf_get_clients(0) > 0
  end, 20)
  if not attached or #said > 0 then
    return { error = said[1] or 'no client', filetype = vim.bo.filetype }
  end
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(0) },
    position = { line = tonumber(env.LINE), character = tonumber(env.COLUMN) },
  }
  local result, err = vim.lsp.buf_request_sync(0, 'textDocument/definition', params, 60000)
  return { result = result and select(2, next(result)), error = err or said[1] }
end

vim.api.nvim_create_autocmd('VimEnter', {
  nested = true, -- :edit has autocommands of its own
  callback = function()
    local ok, out = pcall(answer)
    local text = vim.fn.json_encode(ok and out or { error = out })
    vim.fn.writefile({ text }, env.RESULT .. '.new')
    vim.fn.rename(env.RESULT .. '.new', env.RESULT)
    vim.wait(120000, function()
      return vim.fn.filereadable(env.QUIT) == 1
    end, 20)
    vim.cmd('qall!')
  end,
})
