-- Language servers that all windows of a project share, through hob: each is started by the first window that needs it,
-- joined by the others, and stopped when it has been idle.
--
--   require('hob').setup { servers = { gopls = {
--     cmd = { 'sh', '-c', 'exec gopls serve -listen=127.0.0.1:$PORT' }, -- listens where hob says
--     filetypes = { 'go', 'gomod' }, root = { 'go.work', 'go.mod', '.git' }, idle = '5m',
--   } } }
--
-- A server that takes its socket over (LISTEN_FDS) has proxy = false. Neovim 0.7 or later.
local M = {}

local defaults = {
  gopls = {
    cmd = { 'sh', '-c', 'exec gopls serve -listen=127.0.0.1:$PORT' },
    filetypes = { 'go', 'gomod', 'gowork' },
    root = { 'go.work', 'go.mod', '.git' },
  },
}

local clients = {} -- by root and name, for Neovim without vim.lsp.start

-- root_of is the nearest directory upwards with one of the markers.
local function root_of(buf, markers)
  local dir = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buf), ':p:h')
  for _, marker in ipairs(markers) do
    local found = vim.fn.findfile(marker, dir .. ';')
    if found == '' then
      found = vim.fn.finddir(marker, dir .. ';')
    end
    if found ~= '' then
      return vim.fn.fnamemodify(found, ':p:h' .. (vim.fn.isdirectory(found) == 1 and ':h' or ''))
    end
  end
  return dir
end

-- command is what Neovim executes: hob, joined to the server.
local function command(name, server)
  local cmd = { M.hob, 'connect', name, '--idle', server.idle or '5m' }
  if server.proxy ~= false then
    table.insert(cmd, '--proxy')
  end
  table.insert(cmd, '--')
  return vim.list_extend(cmd, vim.deepcopy(server.cmd))
end

-- why is the reason that hob has for a service, in a line.
local function why(name, root)
  local text = vim.fn.system { M.hob, '-C', root, '--json', '--no-spawn', 'ps', name }
  local ok, doc = pcall(vim.fn.json_decode, text)
  if ok and doc.error then
    return doc.error.message
  end
  return ok and doc.service and (doc.service.state .. ': ' .. doc.service.why) or 'see :lua vim.cmd.edit(vim.lsp.get_log_path())'
end

local function config(name, server, root)
  return {
    name = name,
    cmd = command(name, server),
    cmd_cwd = root, -- hob finds the project by it
    root_dir = root,
    settings = server.settings,
    init_options = server.init_options,
    capabilities = server.capabilities or vim.lsp.protocol.make_client_capabilities(),
    on_attach = server.on_attach,
    on_exit = function(code)
      clients[root .. '\0' .. name] = nil
      if code ~= 0 then
        vim.schedule(function()
          vim.notify(('hob: %s: exit %d, %s'):format(name, code, why(name, root)), vim.log.levels.ERROR)
        end)
      end
    end,
  }
end

-- attach joins a buffer to its server.
function M.attach(name, server, buf)
  local root = root_of(buf, server.root or { '.git' })
  if vim.lsp.start then
    return vim.lsp.start(config(name, server, root), { bufnr = buf })
  end
  local key = root .. '\0' .. name
  clients[key] = clients[key] or vim.lsp.start_client(config(name, server, root))
  if clients[key] then
    vim.lsp.buf_attach_client(buf, clients[key])
  end
  return clients[key]
end

-- setup has buffers of the servers' file types attached.
function M.setup(opts)
  opts = opts or {}
  M.hob = opts.hob or 'hob'
  local group = vim.api.nvim_create_augroup('hob', { clear = true })
  for name, server in pairs(opts.servers or { gopls = {} }) do
    server = vim.tbl_extend('force', defaults[name] or {}, server)
    vim.api.nvim_create_autocmd('FileType', {
      group = group,
      pattern = server.filetypes,
      callback = function(args)
        M.attach(name, server, args.buf)
      end,
    })
  end
end

return M
