-- usage: lua client.lua METHOD [PARAMS]     needs luasocket
local hob = assert(io.popen("hob daemon start --json"))
local path = assert(hob:read("a"):match('"socket":"(.-)"'))
local unix = require("socket.unix")
local socket = (unix.stream or unix)()
assert(socket:connect(path))
local request = '{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}\n'
assert(socket:send(request:format(arg[1], arg[2] or "{}")))
print((assert(socket:receive("*l"))))
socket:close()
