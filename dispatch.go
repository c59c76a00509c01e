package hob

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
)

// accept serves connections until the listener is closed. A daemon that can't hear any more ends, so that another one can be started.
func (s *server) accept(l *ipc.Listener) {
	for {
		c, err := l.Accept(func(err error) { s.log.Warn("accept fails and is tried again", "err", err) })
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.log.Error("accept", "err", err)
				s.ask(stopRequest{Reason: "it can't accept connections any more", Keep: true})
			}
			return
		}
		s.admit(c)
	}
}

// admit serves a client of this user; another's connection is closed without a byte.
func (s *server) admit(c *net.UnixConn) {
	creds, err := ipc.PeerCreds(c)
	if err != nil || creds.Uid != os.Geteuid() {
		s.log.Warn("foreign client", "uid", creds.Uid, "pid", creds.Pid)
		c.Close()
		return
	}
	s.serveConn(c)
}

func (s *server) serveConn(c net.Conn) { s.serveFrom(c, peer{}, nil) }

// serveFrom goes on with a connection that the program before has left, unless at is nil.
func (s *server) serveFrom(c net.Conn, p peer, at *ipc.Suspended) {
	spoke, added := make(chan struct{}), make(chan struct{})
	conn := ipc.NewConn(context.Background(), c, ipc.ConnOptions{
		Handler: func(ctx context.Context, c *ipc.Conn, r *ipc.Request) (any, error) {
			<-added // a lease of one that nobody knows would be none
			return s.dispatch(ctx, c, r)
		},
		Last:              wantsStream,
		OnFirstFrame:      func() { close(spoke) },
		FirstFrameTimeout: silentTime,
		OnPanic: func(v any, stack []byte) {
			s.log.Error("panic in a handler", "value", v, "stack", string(stack))
		},
		Resume: at,
	})
	if old := s.conns.add(conn, p); old != nil {
		old.Close()
	}
	close(added)
	if at != nil && at.Spoken {
		s.conns.spoke(conn)
	}
	go func() {
		select {
		case <-spoke:
			s.conns.spoke(conn)
		case <-conn.Done():
		}
		<-conn.Done()
		if errno, ok := ipc.Fault(conn.Err()); ok {
			s.log.Warn("a connection broke", "pid", conn.Creds().Pid, "err", errno)
		}
		s.own.wait(conn)
		s.conns.remove(conn)
	}()
}

// dispatch answers one request: hob.* at once, everything else when the daemon is running.
func (s *server) dispatch(ctx context.Context, c *ipc.Conn, r *ipc.Request) (any, error) {
	if r.Method == probe.HelloMethod.Name {
		if why := s.conns.meet(c, whoIs(r.Params)); why != "" {
			return probe.HelloReply{Draining: &probe.Leaving{Retry: true, Reason: why}}, nil
		}
	}
	if wantsStream(r) {
		return s.helloStream(ctx, c, r)
	}
	if strings.HasPrefix(r.Method, "hob.") || s.handler == nil {
		return s.builtin.Handle(context.WithValue(ctx, connKey{}, c), r.Method, r.Params)
	}
	under, why := s.conns.begin(c, r.Method)
	if why != "" {
		return nil, wireError(&Error{Code: "draining", Message: r.Method + ": the daemon is leaving: " + why})
	}
	defer s.conns.end(under)
	select {
	case <-s.running:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.answer(ctx, c, r)
}

// answer calls the handler.
func (s *server) answer(ctx context.Context, c *ipc.Conn, r *ipc.Request) (any, error) {
	yield := s.yielding()
	req := &Request{Method: r.Method, Params: r.Params, Handover: yield, Notify: func(method string, params any) error {
		return c.Notify(ctx, method, params)
	}}
	result, err := s.handler(ctx, req)
	if err == nil {
		return result, nil
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code == codeAgain && isClosed(yield) {
		return nil, ipc.ErrAgain
	}
	return nil, wireError(err)
}

// connKey is where a built-in method finds the connection that it is called on.
type connKey struct{}

// whoIs reads that much of a hello.
func whoIs(params json.RawMessage) peer {
	var h probe.Hello
	if json.Unmarshal(params, &h) != nil {
		return peer{}
	}
	return peer{Client: h.Client, Pid: h.Pid, Lease: h.Lease}
}

// builtins are the methods that every daemon answers.
func (s *server) builtins() *ipc.Mux {
	m := &ipc.Mux{}
	probe.HelloMethod.Bind(m, s.hello)
	probe.RetireMethod.Bind(m, func(_ context.Context, p probe.Retire) (probe.RetireReply, error) {
		s.ask(stopRequest{Reason: "retire: " + p.Reason, Keep: true})
		return probe.RetireReply{}, nil
	})
	stopMethod.Bind(m, func(context.Context, struct{}) (struct{}, error) {
		err := s.stops.ask(stopRequest{Reason: "asked to stop"})
		if err != nil {
			s.conns.drain(s.stops.pending().Reason) // the next hello is not welcome: who is told to come again waits for the next daemon
		}
		return struct{}{}, wireError(err)
	})
	statusMethod.Bind(m, func(context.Context, struct{}) (Status, error) { return s.status(), nil })
	upgradeMethod.Bind(m, s.upgradeCall)
	return m
}

// hello never waits on the work. It looks at the lock after the request came in: a daemon whose
// lock file was replaced does not say "ready" any more.
func (s *server) hello(_ context.Context, h probe.Hello) (probe.HelloReply, error) {
	if why := s.conns.leaving(); why != "" {
		return probe.HelloReply{Draining: &probe.Leaving{Retry: true, Reason: why}}, nil
	}
	if err := s.lock.Load().Verify(); err != nil && !fault.Mutant("welcome without a look at the lock") {
		s.nudge()
		return probe.HelloReply{Draining: &probe.Leaving{Retry: true, Reason: err.Error()}}, nil
	}
	protocol := min(h.Protocol[1], probe.MaxProtocol)
	if protocol < max(h.Protocol[0], probe.MinProtocol) {
		return probe.HelloReply{Incompatible: &probe.Incompatible{
			Protocol: [2]int{probe.MinProtocol, probe.MaxProtocol}, Build: s.o.Build}}, nil
	}
	if h.Root != (instance.Root{}) && !h.Root.Same(s.inst.Root) {
		return probe.HelloReply{RootMismatch: &probe.RootMismatch{Root: s.inst.Root}}, nil
	}
	return probe.HelloReply{Welcome: &probe.Welcome{Protocol: protocol, Build: s.o.Build, Pid: s.self.Pid,
		ID: s.inst.ID, Root: s.inst.Root, StartedAt: s.started, Foreground: s.foreground}}, nil
}

func (s *server) status() Status {
	st := status(s.inst)
	st.State, st.Pid, st.Version, st.Protocol = string(probe.Ready), s.self.Pid, s.o.Build, probe.MaxProtocol
	st.StartedAt, st.Connections, st.Foreground = s.started, s.conns.count(), s.foreground
	if s.conns.leaving() != "" {
		st.State = string(probe.Draining)
	}
	return st
}

// ask requests a stop that leaves what runs, or one that nobody waits for.
func (s *server) ask(r stopRequest) { _ = s.stops.ask(r) }
