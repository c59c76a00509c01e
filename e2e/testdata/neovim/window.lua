-- A window without a user, but with a directory, $WINDOW: it asks for the definition of whatever the file's last "greeting" is
-- when a file "ask" is there, writes what it got into "answer", and quits when there is a "quit". What the user would be told goes into "told".
local dir = vim.env.WINDOW .. '/'

vim.notify = function(text)
  local f = io.open(dir .. 'told', 'a')
  f:write(text, '\n')
  f:close()
end

local function exists(name)
  return vim.loop.fs_stat(dir .. name) ~= nil
end

-- clients are those that have been initialized.
local function clients()
  return vim.lsp.get_clients and vim.lsp.get_clients({ bufnr = 0 }) or vim.lsp.get_active_clients()
end

local function definition()
  vim.fn.cursor(1, 1)
  local line, column = unpack(vim.fn.searchpos([[\<greeting\>]], 'b'))
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(0) },
    position = { line = line - 1, character = column - 1 },
  }
  local found
  vim.wait(60000, function()
    local answers = #clients() > 0 and vim.lsp.buf_request_sync(0, 'textDocument/definition', params, 10000)
    for _, answer in pairs(answers or {}) do
      found = answer.result and answer.result[1]
    end
    return found or exists('quit')
  end, 50)
  return found
end

-- Once Neovim has started: a client can't say that it is ready before.
vim.schedule(function()
  while not exists('quit') do
    vim.wait(20)
    if exists('ask') then
      os.remove(dir .. 'ask')
      local text = vim.fn.json_encode(definition() or vim.NIL)
      vim.fn.writefile({ text }, dir .. 'new')
      os.rename(dir .. 'new', dir .. 'answer')
    end
  end
  vim.cmd('qall!')
end)
