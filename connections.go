package hob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
)

// silentTime is how long a connection may exist without a first message.
const silentTime = 10 * time.Second

// connections are the open ones. The zero value is ready for use.
type connections struct {
	mu       sync.Mutex // guards all below
	all      map[*ipc.Conn]struct{}
	silent   []*ipc.Conn // that have not said anything yet, oldest first
	peers    map[*ipc.Conn]peer
	calls    map[*call]struct{} // under way
	came     uint64             // leases and calls, ever
	seen     uint64             // those of them that needed has told of
	draining string             // why the daemon leaves; "" while it stays
}

// peer is what a client said of itself.
type peer struct {
	Client string `json:"client,omitempty"`
	Pid    int    `json:"pid,omitempty"`
	Lease  bool   `json:"lease,omitempty"` // the daemon is not to leave by itself while the connection lives
}

func (p peer) String() string {
	if p.Pid == 0 {
		return "a client"
	}
	return fmt.Sprintf("%s (pid %d)", filepath.Base(p.Client), p.Pid)
}

// call is one that is being answered.
type call struct {
	conn   *ipc.Conn
	method string
	began  time.Time
}

// most is how many connections are held at once: half of what the process may open.
func most() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 512
	}
	return int(min(r.Cur/2, 4096))
}

var maxConnections = sync.OnceValue(most)

// add admits c; where there are too many, the one that has been silent longest has to go, and
// c itself when none is silent.
func (cs *connections) add(c *ipc.Conn, p peer) (evicted *ipc.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.all == nil {
		cs.all, cs.peers = map[*ipc.Conn]struct{}{}, map[*ipc.Conn]peer{}
	}
	cs.all[c] = struct{}{}
	cs.peers[c] = p
	cs.silent = append(cs.silent, c)
	if len(cs.all) <= maxConnections() {
		return nil
	}
	evicted = cs.silent[0]
	cs.drop(evicted)
	return evicted
}

func (cs *connections) drop(c *ipc.Conn) {
	delete(cs.all, c)
	delete(cs.peers, c)
	cs.unsilence(c)
}

func (cs *connections) unsilence(c *ipc.Conn) {
	for i, s := range cs.silent {
		if s == c {
			cs.silent = append(cs.silent[:i], cs.silent[i+1:]...)
			return
		}
	}
}

func (cs *connections) spoke(c *ipc.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.unsilence(c)
}

func (cs *connections) remove(c *ipc.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.drop(c)
}

func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.all)
}

// meet notes who c is. A lease, which has the daemon stay while c lives, is refused, with the reason, by one that leaves.
func (cs *connections) meet(c *ipc.Conn, p peer) (leaving string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, open := cs.all[c]; !open || cs.draining != "" {
		return cs.draining
	}
	cs.peers[c] = p
	if p.Lease {
		cs.came++
	}
	return ""
}

// begin has the daemon stay until end. It is refused, with the reason, by one that leaves.
func (cs *connections) begin(c *ipc.Conn, method string) (under *call, leaving string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.draining != "" {
		return nil, cs.draining
	}
	if cs.calls == nil {
		cs.calls = map[*call]struct{}{}
	}
	under = &call{c, method, time.Now()}
	cs.calls[under] = struct{}{}
	cs.came++
	return under, ""
}

func (cs *connections) end(under *call) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.calls, under)
}

func (cs *connections) leases() (n int) {
	for _, p := range cs.peers {
		if p.Lease {
			n++
		}
	}
	return n
}

// sessions names who has a lease or waits for an answer, except for one.
func (cs *connections) sessions(except *ipc.Conn) []string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var all []string
	busy := map[*ipc.Conn]bool{except: true}
	for c := range cs.calls {
		if c.conn != except {
			busy[c.conn] = true
			all = append(all, cs.tell(c))
		}
	}
	for c, p := range cs.peers {
		if p.Lease && !busy[c] {
			all = append(all, p.String())
		}
	}
	slices.Sort(all)
	return all
}

// waiting names who waits for the answer to a call, and for which.
func (cs *connections) waiting() []string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var all []string
	for c := range cs.calls {
		all = append(all, cs.tell(c))
	}
	slices.Sort(all)
	return all
}

func (cs *connections) tell(c *call) string {
	return fmt.Sprintf("%v: %s for %.0fs", cs.peers[c.conn], c.method, time.Since(c.began).Seconds())
}

// list gives the open ones, with who they are.
func (cs *connections) list() map[*ipc.Conn]peer {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := map[*ipc.Conn]peer{}
	for c := range cs.all {
		all[c] = cs.peers[c]
	}
	return all
}

// needed reports that there is a lease or a call, or was since the last time.
func (cs *connections) needed() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	since := cs.came != cs.seen
	cs.seen = cs.came
	return since || len(cs.calls) > 0 || cs.leases() > 0
}

// drainIdle is drain, unless somebody has a lease or a call is under way: whoever comes later is told, and goes to
// the next daemon. busy is asked last, when no call can begin any more.
func (cs *connections) drainIdle(why string, busy func() bool) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.calls) > 0 || cs.leases() > 0 || cs.draining != "" || busy() {
		return false
	}
	cs.draining = why
	return true
}

// drain makes every hello and every call from now on be answered with draining.
func (cs *connections) drain(why string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.draining = why
}

func (cs *connections) leaving() string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.draining
}

// finish closes every connection, when what it asked is answered or ctx ends; more can't come.
func (cs *connections) finish(ctx context.Context) {
	cs.mu.Lock()
	all := slices.Collect(maps.Keys(cs.all))
	cs.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { _ = c.Finish(ctx) })
	}
	wg.Wait()
}

// accept serves connections until the listener is closed.
func (s *server) accept(l *ipc.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.log.Error("accept", "err", err)
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
		s.ask(stopRequest{Reason: "asked to stop"})
		return struct{}{}, nil
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
	if !s.lock.Load().Current() {
		s.nudge()
		return probe.HelloReply{Draining: &probe.Leaving{Retry: true, Reason: "its lock file was removed"}}, nil
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

// ask requests a stop; a second one is a request to hurry, which the first one's reader sees.
func (s *server) ask(r stopRequest) {
	select {
	case s.stopReq <- r:
	default:
	}
}
