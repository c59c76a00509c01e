// usage: node client.js METHOD [PARAMS]     e.g. node client.js service.list
const { execFileSync } = require('node:child_process')
const [method, params = '{}'] = process.argv.slice(2)
const { daemon } = JSON.parse(execFileSync('hob', ['daemon', 'start', '--json']))
const socket = require('node:net').connect(daemon.socket)
socket.write(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: JSON.parse(params) }) + '\n')
require('node:readline').createInterface({ input: socket }).once('line', line => {
  const { error, result } = JSON.parse(line)
  console.log(error ? 'error: ' + error.message : JSON.stringify(result))
  socket.end()
})
