// Package hob gives a program its own background daemon, one for each project directory:
// started by whichever client first needs it, exactly once, reachable by every other, and gone
// when it is told to go or when nobody has needed it for a while. Nobody installs, enables or
// configures anything, and nothing needs root.
//
// # One binary, two sides
//
// Both sides take the same [Instance], which names the program and the project. Its Command starts
// the daemon, most easily the very same program with a verb that no help text mentions:
//
//	inst := hob.Instance{Name: "greet", Dir: dir, Command: []string{os.Args[0], "serve", dir}}
//
// The client connects, and starts the daemon when there is none:
//
//	c, err := hob.Dial(ctx, inst, nil)
//	if err != nil {
//		return err // says what is wrong, in one sentence
//	}
//	defer c.Close()
//	err = c.Call(ctx, "greet", "Ada", &answer)
//
// The daemon answers:
//
//	err := hob.Serve(ctx, inst, func(ctx context.Context, r *hob.Request) (any, error) {
//		var name string
//		if err := json.Unmarshal(r.Params, &name); err != nil {
//			return nil, err
//		}
//		return "hello, " + name, nil
//	}, nil)
//
// It runs in "/", in a session of its own, with stdin from /dev/null, a dozen variables of the
// environment, and stdout and stderr in a log that [Client.Welcome] and [Probe] name. So it has to be
// told everything that it needs to know, such as dir, absolute. Serve blocks until the daemon
// has left; the program should then exit soon, since that is what frees its lock. The example
// of the package is such a program, and so is examples/greet.
//
// # A protocol of the program's own
//
// Calls are JSON-RPC 2.0, and [Request].Notify sends notifications the other way. A program that
// speaks HTTP, gRPC or LSP instead, or as well, connects with [DialConn] and gets a [net.Conn];
// its daemon gets a [net.Listener] by ServeOptions.Accept, and no port is used:
//
//	hob.Serve(ctx, inst, nil, &hob.ServeOptions{Accept: func(l net.Listener) {
//		srv.Serve(l)                       // until the daemon leaves
//		srv.Shutdown(context.Background()) // requests under way are answered, idle connections closed
//	}})
//
// # Leases, and leaving
//
// Each connection is a lease, unless DialOptions.NoLease is set: the daemon does not leave by
// itself while it lives. With ServeOptions.IdleExit it does leave when for so long nobody had
// a lease, no call was under way and Busy was false. Without it, it stays until the project's
// directory is removed, its context ends, or somebody calls [Client.Stop].
//
// A daemon that leaves takes no more connections: whoever dials waits, and gets the next daemon. Then
// it runs ServeOptions.Stop, and gives calls and connections under way 2 s to end. What it
// has to remember it reads in Load and writes in Stop, or better, whenever it changes: a
// daemon can be killed.
//
// # Versions
//
// DialOptions.Build and ServeOptions.Build are versions such as "v1.2.3". A client of a higher one has
// the daemon replaced by its own Command, once in a Dial, and never the other way round. A daemon
// that has ServeOptions.Handover becomes the new program in place: pid, lock, socket and the
// connections of its clients stay, and a program that is broken is found out before. One that has
// not is told to leave when nobody else has a session, and otherwise the error names who has.
//
// # Errors
//
// Every error of Dial, DialConn, Probe and the methods of [Client] is an *[Error]. Its message is a
// sentence for people, with the way out in Hint; programs decide on Code, and Verdict says what was
// seen of the daemon. A handler may return an *Error, too, and the client gets its Code, Message
// and Hint:
//
//	var e *hob.Error
//	if errors.As(err, &e) && e.Code == "not_running" {
//		return nil // nothing to stop
//	}
//
// # What is promised
//
// At most one daemon serves an instance at any time, also when files are deleted under it. A
// client that was welcomed talks to a live one, and it does not leave by itself while the
// connection lives. A daemon that can't start is reported to every waiting client with its
// reason, not as a time-out, and is not started over and over. A client never removes a file and
// never signals a process, other than [Evict] and [Discard], which say so. docs/embedding.md names the test that
// holds each.
//
// The wire is JSON-RPC 2.0 on a Unix socket that only its owner can open, so a client can be
// written in any language: docs/protocol.md has one in ten lines.
//
// The package never handles signals, never exits and never prints.
package hob
