package hob

import (
	"context"
	"encoding/json"
	"errors"
	"net"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
)

// codeNoStream says that a daemon has no protocol of its own.
const codeNoStream = "no_stream"

// DialConn is Dial for a program whose daemon speaks a protocol of its own, such as HTTP, gRPC or
// LSP, by ServeOptions.Accept: it searches, starts, waits and fails in the same way, and the
// connection is the caller's then, who closes it. Not a byte of the program's was written or
// read before; deadlines, CloseWrite and SyscallConn are those of a Unix socket. The lease, if
// there is one, lasts until the daemon closes its end, which it should when it reads the end of
// ours. With Code "no_stream" the daemon answers calls only. DialOptions.Notify is of no use
// here, and an error.
func DialConn(ctx context.Context, inst Instance, o *DialOptions) (net.Conn, error) {
	if o != nil && o.Notify != nil {
		return nil, &Error{Code: "usage", Message: "dial a connection of the program's own: Notify is for Dial"}
	}
	i, err := inst.resolve()
	if err != nil {
		return nil, err
	}
	d, err := newDialer(i, inst.Command, o)
	if err != nil {
		return nil, err
	}
	d.hello.Stream, d.conn.Once = true, true
	ctx, patience, end := withPatience(ctx, dialPatience)
	defer end()
	d.patience = patience
	conn, welcome, err := d.dial(ctx)
	var answered *ipc.Error
	if errors.As(err, &answered) && answered.Data != nil && answered.Data.Code == codeNoStream {
		return nil, noStream(i, err)
	}
	if err != nil {
		return nil, err
	}
	if !welcome.Stream { // it was built before there was such a thing
		conn.Close()
		return nil, noStream(i, nil)
	}
	raw, err := conn.Detach()
	if err != nil {
		return nil, answerError("connect to the daemon of "+i.Root.Path, err)
	}
	return raw.Plain(), nil
}

func noStream(i instance.Instance, err error) *Error {
	return &Error{Code: codeNoStream, Err: err, Message: "connect to the daemon of " + i.Root.Path +
		": it answers JSON-RPC only and takes no connection of another protocol"}
}

// wantsStream reports a hello after which the client speaks the program's own protocol. The
// connection asks it of its first request.
func wantsStream(r *ipc.Request) bool {
	var h probe.Hello
	return r.Method == probe.HelloMethod.Name && json.Unmarshal(r.Params, &h) == nil && h.Stream
}

// helloStream answers such a hello, and hands the connection over when the answer is a welcome.
// After any other answer it is closed: what the client has sent already is not JSON-RPC.
func (s *server) helloStream(ctx context.Context, c *ipc.Conn, r *ipc.Request) (any, error) {
	result, err := s.builtin.Handle(ctx, r.Method, r.Params)
	reply, _ := result.(probe.HelloReply)
	if err != nil || reply.Welcome == nil {
		return result, err
	}
	// Before it is welcomed, and not when it arrives: nobody who was welcomed is evicted.
	if !s.conns.keep(c) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	switch err := s.own.expect(); {
	case errors.Is(err, errLeaving):
		return probe.HelloReply{Draining: &probe.Leaving{Retry: true, Reason: s.conns.leaving()}}, nil
	case err != nil:
		return nil, wireError(err)
	}
	if !r.HandOver(func(raw *ipc.RawConn) { s.own.add(c, raw) }) {
		s.own.add(c, nil)
		return nil, wireError(&Error{Code: "usage",
			Message: r.Method + " with stream: it has to be the first message of its connection"})
	}
	reply.Welcome.Stream = true
	return reply, nil
}

// keep has c be silent no more, at once. It is false for one that had to go already.
func (cs *connections) keep(c *ipc.Conn) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.unsilence(c)
	_, open := cs.all[c]
	return open
}

// serveOwn runs Accept once the daemon is running.
func (s *server) serveOwn() {
	if s.o.Accept == nil {
		return
	}
	s.own.begin()
	go func() {
		<-s.running
		s.o.Accept(s.own)
		if s.conns.leaving() == "" {
			s.log.Warn("Accept has returned, connections of the program's own protocol are refused")
		}
		s.own.end()
	}()
}
