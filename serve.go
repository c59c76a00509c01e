package hob

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/spawn"
)

// Handler answers a call, in a goroutine of its own; ctx ends with the connection and with the
// daemon. The result is what encoding/json makes of it. Methods that begin with "hob." never
// reach it.
type Handler func(ctx context.Context, r *Request) (any, error)

// ServeOptions are for Serve; nil and the zero value are fine. The functions are called in the
// order in which they stand here.
type ServeOptions struct {
	// Build is the version that clients are told.
	Build string

	// Logger is told what happens; nil: nobody is.
	Logger *slog.Logger

	// Foreground lets Serve take the lock by itself when no client handed it over: for a daemon
	// that a person or a service manager starts. Without it that is an error.
	Foreground bool

	// Load reads what an earlier daemon left. It runs under the lock and before there is any
	// socket: an error ends the start, is shown to the clients that wait, and nothing is left.
	Load func(ctx context.Context) error

	// Run is called once the daemon is published and its starter was told "ready". Calls other
	// than hob.* wait until it returns.
	Run func(ctx context.Context)

	// Heal is called when the instance directory was removed under the running daemon and has
	// been made anew.
	Heal func()

	// Stop ends what the daemon runs, or with keep leaves it for the next daemon. It runs under
	// the lock, when no new client can connect. ctx ends at a second request to stop: then there
	// is no more time for grace.
	Stop func(ctx context.Context, keep bool)

	// IdleExit is received from: how long the daemon stays when nobody needs it, which is when no client has a lease, no
	// call is under way and Busy, which may be nil, is false. Before the first value, and after 0: for ever.
	IdleExit <-chan time.Duration
	Busy     func() bool

	// Hurry is received from at a second request to stop, such as a second SIGTERM.
	Hurry <-chan struct{}
}

// Serve is the daemon's side: it takes over the lock from the client that started it (or, with
// Foreground, takes it), publishes the socket, and answers until ctx ends, a client asks it to
// stop, its lock is lost to another daemon, or the project's directory is gone. It blocks until
// everything is stopped and the socket is removed; the lock itself is released by the exit of the
// process. It returns nil after an orderly stop. Call it once in a process, before anything that
// forks, and exit soon after it returns.
func Serve(ctx context.Context, inst Instance, h Handler, o *ServeOptions) error {
	i, err := inst.resolve()
	if err != nil {
		return err
	}
	in, spawned, err := spawn.Inherit(i)
	if err != nil {
		return err
	}
	s := newServer(i, h, o)
	if spawned {
		spawn.CloseStray(in)
		if err := s.inherit(in); err != nil {
			return err
		}
	} else if !s.o.Foreground {
		return &Error{Code: "not_spawned", Message: "serve " + i.Root.Path + ": no client started this process, and Foreground is not set"}
	}
	return s.serve(ctx)
}

// server is one daemon. The fields above mu are set before anything runs.
type server struct {
	inst    instance.Instance
	handler Handler
	o       ServeOptions
	log     *slog.Logger
	started time.Time
	self    process.ID
	pidNS   uint64

	starter net.Conn // the readiness channel; nil in the foreground
	guard   *lock.Guard
	running chan struct{} // closed when Run has returned
	nudged  chan struct{} // look at the place now
	builtin *ipc.Mux
	stopReq chan stopRequest

	place
	conns connections
}

// stopRequest is why the daemon leaves.
type stopRequest struct {
	reason string
	keep   bool // leave what it runs for the next daemon
	yield  bool // another daemon rules: remove nothing
}

func newServer(i instance.Instance, h Handler, o *ServeOptions) *server {
	s := &server{inst: i, handler: h, started: time.Now().UTC(), running: make(chan struct{}),
		nudged: make(chan struct{}, 1), stopReq: make(chan stopRequest, 1)}
	if o != nil {
		s.o = *o
	}
	s.builtin = s.builtins()
	if s.log = s.o.Logger; s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// inherit takes over what the client handed down; the readiness channel first, so that whatever
// goes wrong from here on is told.
func (s *server) inherit(in spawn.Inherited) error {
	f := os.NewFile(uintptr(in.Ready), "readiness")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return err
	}
	s.starter = c
	s.guard = lock.GuardFromFD(in.Guard)
	fault.Point("daemon.inherited")
	err = s.adoptLock(os.NewFile(uintptr(in.Lock), s.inst.LockPath()))
	if err != nil {
		s.failed("lock", err)
	}
	return err
}

func (s *server) adoptLock(f *os.File) (err error) {
	if s.state, err = s.inst.OpenState(false); err != nil {
		return err
	}
	l, err := lock.FromFile(f, s.state, s.inst.LockName())
	if err != nil {
		return err
	}
	s.lock.Store(l)
	fault.Point("daemon.adopted")
	return nil
}

// acquire is the foreground's way to the lock: guard, lock, inode.
func (s *server) acquire() (err error) {
	if s.state, err = s.inst.OpenState(true); err != nil {
		return err
	}
	key, err := s.inst.Key(s.state)
	if err != nil {
		return err
	}
	if s.guard, err = lock.TryGuard(key); err != nil {
		return s.taken(err)
	}
	l, err := lock.TryAcquire(s.state, s.inst.LockName())
	if err != nil {
		return s.taken(err)
	}
	s.lock.Store(l)
	// An attempt of its own: whoever waits for the last daemon to go sees that this is another.
	boot, err := process.BootID()
	if err != nil {
		return err
	}
	last, _ := l.Record()
	return l.WriteRecord(last.Next(boot))
}

// taken names who has the lock.
func (s *server) taken(err error) error {
	if !errors.Is(err, lock.ErrHeld) {
		return err
	}
	rec, _ := lock.ReadRecord(s.state, s.inst.LockName())
	return &Error{Verdict: "ready", Code: "already_running", Pid: rec.Pid, Err: err,
		Message: "serve " + s.inst.Root.Path + ": another daemon has the lock" + pidWords(rec.Pid),
		Hint:    "stop that one first: hob daemon stop"}
}

// failed tells the starter, which records it; in the foreground nobody waits for it.
func (s *server) failed(stage string, err error) {
	s.log.Error("start failed", "stage", stage, "err", err)
	spawn.Report(s.starter, spawn.ErrorOf(stage, err))
}

// serve runs the steps of the start in order, then waits, then stops. The order has reasons:
// see docs/architecture.md.
func (s *server) serve(ctx context.Context) error {
	if s.lock.Load() == nil {
		if err := s.acquire(); err != nil {
			return err
		}
	}
	steps := []struct {
		stage string
		do    func(context.Context) error
	}{
		{"identity", s.identify},
		{"files", s.writeFiles},
		{"load", s.load},
		{"socket", s.bind},
		{"self-check", s.helloSelf},
		{"publish", s.publish},
	}
	for _, step := range steps {
		err := step.do(ctx)
		if err == nil && ctx.Err() != nil {
			err = errTerminated
		}
		if err != nil {
			s.failed(step.stage, err)
			s.abandon()
			return err
		}
	}
	s.ready()
	return s.live(ctx)
}

// unguarded names another user's process that has the guard's name: the lock alone decides then.
func (s *server) unguarded() {
	key, err := s.inst.Key(s.state)
	if err != nil {
		return
	}
	if pid, uid, taken := lock.LookGuard(key); taken {
		s.log.Warn("no guard: somebody else has its name", "uid", uid, "pid", pid)
	}
}

// live is the time between ready and gone.
func (s *server) live(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watchers sync.WaitGroup
	if s.guard == nil {
		s.unguarded()
	}
	watchers.Go(func() { s.guard.Serve() })
	watchers.Go(func() { s.keep(ctx) })
	watchers.Go(func() { s.watchIdle(ctx) })
	go func() {
		defer close(s.running)
		if s.o.Run != nil {
			s.o.Run(ctx)
		}
		fault.Point("daemon.running")
	}()
	var why stopRequest
	select {
	case why = <-s.stopReq:
	case <-ctx.Done():
		why = stopRequest{reason: context.Cause(ctx).Error()}
	}
	cancel()
	s.stop(why)
	s.guard.Close()
	watchers.Wait()
	return nil
}
