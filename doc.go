// Package hob gives a program its own background daemon, one for each project directory:
// started by whichever client first needs it, exactly once, reachable by every other, and gone
// when it is told to go.
//
// Begin with [Dial] and [Serve]. Both take the same [Instance], which names the program and the
// project:
//
//	inst := hob.Instance{Name: "greet", Dir: dir, Command: []string{os.Args[0], "serve", dir}}
//
// The client side connects, and starts the daemon when there is none:
//
//	c, err := hob.Dial(ctx, inst, nil)
//	if err != nil {
//		return err // says what is wrong, in one sentence
//	}
//	defer c.Close()
//	err = c.Call(ctx, "greet", name, &answer)
//
// The daemon side, which Command leads to, runs in "/", so it has to be told dir, absolute; it
// answers:
//
//	err := hob.Serve(ctx, inst, func(ctx context.Context, r *hob.Request) (any, error) {
//		var name string
//		if err := json.Unmarshal(r.Params, &name); err != nil {
//			return nil, err
//		}
//		return "hello, " + name, nil
//	}, nil)
//
// What is promised: at most one daemon serves an instance at any time. A client that was
// welcomed talks to a live one, and it does not leave by itself while the connection lives. A
// daemon that can't start is reported to every waiting client with its reason, not as a
// time-out. A client never removes a file and never signals a process, other than [Evict],
// which says so.
//
// The wire is JSON-RPC 2.0 on a Unix socket that only its owner can open, so a client can be
// written in any language: docs/protocol.md has one in ten lines.
//
// The package never handles signals, never exits and never prints.
package hob
