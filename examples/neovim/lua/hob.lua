-- Language servers that all Neovim windows of a project share: each window joins the one server through
-- "hob connect", which starts it for the first and stops it some time after the last.
--
-- It maps no keys and changes no option. It works with Neovim 0.7.2 and later.
local M = {}

local uv = vim.uv or vim.loop

-- The servers that need no more than their name: each listens on a port and serves many editors at once.
local known = {
  gopls = {
    cmd = { 'sh', '-c', 'exec gopls serve -listen=127.0.0.1:$PORT' },
    filetypes = { 'go', 'gomod' },
    root = { 'go.work', 'go.mod', '.git' },
    proxy = true,
    idle = '5m',
  },
}

-- What is for hob here; all else in a server's table is for vim.lsp.
local own = { cmd = true, filetypes = true, root = true, proxy = true, idle = true, listen = true, to = true }

local options = { hob = 'hob', servers = {} }
local asked = {} -- clients that Neovim itself stops, by id
local ids = {} -- clients of Neovim 0.7, by name and root

local function notify(name, text, level)
  vim.notify(('hob: %s: %s'):format(name, text), level)
end

-- root returns the nearest directory, from the file's upwards, that has one of the markers; else the file's own.
local function root(file, markers)
  local start = vim.fn.fnamemodify(file, ':p:h')
  local dir = start
  while true do
    for _, marker in ipairs(markers) do
      if uv.fs_stat(dir .. '/' .. marker) then
        return dir
      end
    end
    local parent = vim.fn.fnamemodify(dir, ':h')
    if parent == dir then
      return start
    end
    dir = parent
  end
end

-- connect is the command line of a server: the words of "hob connect", and a shell that keeps what hob says in a file,
-- because Neovim puts it into a log that nobody reads.
local function connect(name, server, errors)
  local words = { 'sh', '-c', 'exec 2>"$1"; shift; exec "$@"', 'sh', errors, options.hob, 'connect', name }
  if server.proxy then
    table.insert(words, '--proxy')
  end
  for _, flag in ipairs({ 'idle', 'listen', 'to' }) do
    if server[flag] then
      vim.list_extend(words, { '--' .. flag, server[flag] })
    end
  end
  if server.cmd then -- else it is a service of hob.toml
    table.insert(words, '--')
    vim.list_extend(words, server.cmd)
  end
  return words
end

-- reason is one line of what hob said when it failed: its reason, with the server's last words.
local function reason(errors, code)
  local text, last
  for line in io.lines(errors) do
    if vim.startswith(line, 'hob: ') then
      text = text or line:sub(6)
    elseif not text and vim.trim(line) ~= '' then
      last = vim.trim(line)
    end
  end
  if text and last then
    return ('%s (%s)'):format(text, last)
  end
  return text or last or ('exit status %d'):format(code)
end

-- same is whether the client can be used for that, too: one that has lost its server may not have been forgotten yet.
local function same(c, config)
  return c.name == config.name and c.config.root_dir == config.root_dir and not c.is_stopped(c)
end

-- start attaches the buffer to the client of that name and root, and makes one where there is none.
local function start(config, buf)
  if vim.lsp.start then
    return vim.api.nvim_buf_call(buf, function()
      return vim.lsp.start(config, { bufnr = buf, reuse_client = same })
    end)
  end
  local key = config.name .. '\n' .. config.root_dir
  if not (ids[key] and vim.lsp.get_client_by_id(ids[key])) then
    ids[key] = vim.lsp.start_client(config)
  end
  if ids[key] then
    vim.lsp.buf_attach_client(buf, ids[key])
  end
end

local attach

-- again connects the buffers of a client that has lost its server, unless that has become a habit.
local function again(name, buffers)
  local server = options.servers[name]
  local now = uv.now()
  server.lost = vim.tbl_filter(function(t)
    return now - t < 60000
  end, server.lost or {})
  table.insert(server.lost, now)
  if #server.lost > 3 then
    return notify(name, 'lost its server again and again; :edit connects once more', vim.log.levels.ERROR)
  end
  notify(name, 'lost its server, connecting again', vim.log.levels.WARN)
  vim.defer_fn(function()
    for buf in pairs(buffers) do
      if vim.api.nvim_buf_is_loaded(buf) then
        attach(name, buf)
      end
    end
  end, 200)
end

-- ended is told how "hob connect" has ended, and whether its server had answered before.
local function ended(name, answered, buffers, errors, code, id)
  local there = uv.fs_stat(errors)
  local text = there and code ~= 0 and reason(errors, code)
  os.remove(errors)
  if asked[id] or vim.v.exiting ~= vim.NIL then
    asked[id] = nil
  elseif answered then
    again(name, buffers)
  else
    notify(name, text or 'the server ended the connection', vim.log.levels.ERROR)
  end
end

-- client is what vim.lsp wants to know of a server.
local function client(name, server, dir)
  local errors, answered, buffers = vim.fn.tempname(), false, {}
  local config = {}
  for key, value in pairs(server) do
    if not own[key] then
      config[key] = value
    end
  end
  config.name, config.root_dir, config.cmd_cwd = name, dir, dir
  config.cmd = connect(name, server, errors)
  config.on_init = function(c, ...)
    answered = true
    local stop = c.stop
    c.stop = function(...)
      asked[c.id] = true
      return stop(...)
    end
    if server.on_init then
      return server.on_init(c, ...)
    end
  end
  config.on_attach = function(c, buf)
    buffers[buf] = true
    if server.on_attach then
      server.on_attach(c, buf)
    end
  end
  config.on_exit = function(code, signal, id)
    vim.schedule(function()
      ended(name, answered, buffers, errors, code, id)
    end)
    if server.on_exit then
      server.on_exit(code, signal, id)
    end
  end
  return config
end

attach = function(name, buf)
  local server = options.servers[name]
  local file = vim.api.nvim_buf_get_name(buf)
  if file == '' or vim.api.nvim_buf_get_option(buf, 'buftype') ~= '' then
    return
  end
  start(client(name, server, root(file, server.root)), buf)
end

-- setup shares servers from now on, also in buffers that are open already.
--   servers  by name: {} for a known one (gopls, which is the default), else
--     cmd        what starts it; nil for a service of hob.toml
--     filetypes  for which it is
--     root       files and directories that mark its root; by default go.mod, .git and hob.toml
--     proxy, idle, listen, to   as the flags of "hob connect"
--     and whatever vim.lsp takes, as settings, on_attach and capabilities
--   hob  the program, by default from PATH
function M.setup(opts)
  opts = opts or {}
  options = { hob = opts.hob or 'hob', servers = {} }
  local group = vim.api.nvim_create_augroup('hob', { clear = true })
  for name, server in pairs(opts.servers or { gopls = {} }) do
    server = vim.tbl_extend('force', { root = { 'go.mod', '.git', 'hob.toml' } }, known[name] or {}, server)
    options.servers[name] = server
    vim.api.nvim_create_autocmd('FileType', {
      group = group,
      pattern = server.filetypes,
      callback = function(event)
        attach(name, event.buf)
      end,
    })
    for _, buf in ipairs(vim.api.nvim_list_bufs()) do
      if vim.api.nvim_buf_is_loaded(buf) and vim.tbl_contains(server.filetypes, vim.api.nvim_buf_get_option(buf, 'filetype')) then
        attach(name, buf)
      end
    end
  end
end

-- run runs hob, by default "hob ps", where the current file is, and shows what it prints.
function M.run(args)
  local words = { 'sh', '-c', 'cd "$1" && shift && exec "$@" 2>&1', 'sh', vim.fn.expand('%:p:h'), options.hob }
  vim.list_extend(words, #args > 0 and args or { 'ps' })
  print(vim.trim(vim.fn.system(words)))
end

return M
