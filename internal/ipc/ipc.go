// Package ipc is the socket of an instance: how it is published, who is at its
// other end, how messages are framed, and how a method is called and served.
//
// It promises that the public name never leads to a socket that does not
// listen, that a connection's fault (bad JSON, half a frame, a huge frame, a
// peer that stops reading) costs that connection and nothing else, and that a
// connection that ended says why. Listen and Connect work in directories whose
// path is longer than sun_path on Linux. The wire is JSON-RPC 2.0, one message
// a line, or Content-Length framing for a client that opens with it.
//
// It knows no methods, never retries, never spawns, never logs, and never
// unlinks a socket that it did not bind, other than in Publish (which replaces
// by rename) and Sweep, both for the holder of the instance's lock only.
package ipc
