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
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/spawn"
	"github.com/hobworks/hob/internal/upgrade"
)

// Handler answers a call, in a goroutine of its own; ctx ends with the connection and with the
// daemon. The result is what encoding/json makes of it. Methods that begin with "hob." never
// reach it. Where an error is, or wraps, an *Error, its Code, Message and Hint get to the client, which
// gets any other error with Code "failed". A panic costs the call and not the daemon. With a nil
// Handler there are no methods but hob's own.
type Handler func(ctx context.Context, r *Request) (any, error)

// ServeOptions are for Serve; nil and the zero value are fine. The functions are called in the
// order in which they stand here.
type ServeOptions struct {
	// Build is the version that clients are told, in Client.Welcome and Probe; for people.
	Build string

	// Logger is told what happens; nil: nobody is.
	Logger *slog.Logger

	// Foreground lets Serve take the lock by itself when no client handed it over: for a daemon
	// that a person or a service manager starts. Without it that is an error.
	Foreground bool

	// Load reads what an earlier daemon left. It runs under the lock and before there is any
	// socket: an error ends the start, is shown to the clients that wait, and nothing is left.
	// files are those of Handover when this daemon was another version of itself before, else nil; Load takes them over.
	Load func(ctx context.Context, files map[string]*os.File) error

	// Run is called once the daemon is published and its starter was told "ready". Calls other
	// than hob.* wait until it returns, so it only begins what is to run. ctx ends when the daemon
	// begins to leave.
	Run func(ctx context.Context)

	// Accept serves the connections of DialConn, in a protocol of the program's own; nil: there is
	// none. It runs in a goroutine of its own, when Run has returned. l gives them in the order in
	// which they came. When the daemon begins to leave, l.Accept returns net.ErrClosed, so that
	// http.Serve returns; connections under way go on until 2 s after Stop, as calls do, and are
	// closed then. When Accept returns earlier, or closes l, such connections are refused.
	//
	// Whoever accepts a connection closes it. Until then it is counted, and a lease, unless the client
	// asked for none: one without keeps no daemon, whatever is going on there.
	Accept func(l net.Listener)

	// Heal is called when the instance directory was removed under the running daemon and has
	// been made anew.
	Heal func()

	// Stop ends what the daemon runs, or with keep leaves it for the next daemon. It runs under
	// the lock, when no new client can connect. ctx ends at a second request to stop: then there
	// is no more time for grace.
	Stop func(ctx context.Context, keep bool)

	// Handover lets the daemon be upgraded in place: the process becomes the program that is given, a path, and keeps its pid, its lock, its
	// socket, its children and the connections of its clients. It is called when that program was tried, nobody is connected anew, and no call
	// is under way. It lets go of what the daemon runs, as Stop with keep does, and gives open files that are to be kept, by name; Load gets
	// them in the next program. What catches signals is to be let go of last (signal.Stop): one that is
	// caught after that would be lost with this program. After an error everything goes on as it was; after success nothing of this program runs any more, as a rule. nil: a
	// newer version replaces this daemon when nobody else has a session.
	Handover func(ctx context.Context, program string) (files map[string]*os.File, err error)

	// IdleExit is received from: how long the daemon stays when nobody needs it, which is when no
	// client has a lease or has just connected, no call is under way and Busy is false. Before the first value, and after
	// 0: for ever, as with a nil channel. It leaves as if told to with keep.
	IdleExit <-chan time.Duration

	// Busy says that the daemon is needed although no client waits for it; nil: it never is. It is
	// asked every now and then, and must be quick and call nothing of this package.
	Busy func() bool

	// Hurry is received from at a second request to stop, such as a second SIGTERM: the time for
	// grace is over then. It may be nil.
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
	s := newServer(i, h, o)
	if upgrade.OnTrial(upgrade.Report{Protocol: [2]int{probe.MinProtocol, probe.MaxProtocol}, Build: s.o.Build, ID: i.ID}) {
		return nil
	}
	bundle, upgraded, err := upgrade.Inherit()
	if err != nil {
		return err
	}
	if upgraded {
		if err := s.succeed(bundle); err != nil {
			return err
		}
		return s.serve(ctx)
	}
	in, spawned, err := spawn.Inherit(i)
	if err != nil {
		return err
	}
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

	origin     string        // where the process was started, which Serve leaves
	foreground bool          // no client started it
	starter    net.Conn      // the readiness channel; nil in the foreground
	running    chan struct{} // closed when Run has returned
	nudged     chan struct{} // look at the place now
	builtin    *ipc.Mux
	stops      stops
	left       *heritage // nil: this process was no daemon before
	upgrader

	place
	conns connections
	own   *ownListener
}

func newServer(i instance.Instance, h Handler, o *ServeOptions) *server {
	s := &server{inst: i, handler: h, started: time.Now().UTC(), running: make(chan struct{}),
		nudged: make(chan struct{}, 1), stops: stops{asked: make(chan struct{}, 1)}}
	if o != nil {
		s.o = *o
	}
	s.guards = map[string]*lock.Guard{}
	s.builtin = s.builtins()
	s.upgrader.init()
	if s.origin, _ = os.Getwd(); s.origin == "" {
		s.origin = i.Root.Path
	}
	s.own = newOwnListener(i.Path(instance.SocketName), s.o.Accept != nil)
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
	guard := lock.GuardFromFD(in.Guard)
	fault.Point("daemon.inherited")
	if err = s.adoptLock(os.NewFile(uintptr(in.Lock), s.inst.LockPath())); err == nil {
		err = s.noteGuard(guard)
	}
	if err != nil {
		s.failed("lock", err)
	}
	return err
}

// noteGuard is for a guard that was taken for the state directory of now.
func (s *server) noteGuard(g *lock.Guard) error {
	key, err := s.inst.Key(s.state)
	if err == nil {
		s.guards[key] = g
	}
	return err
}

func (s *server) adoptLock(f *os.File) (err error) {
	if s.state, err = s.inst.OpenState(s.left != nil); err != nil { // an upgrade may meet a state directory that was moved
		return err
	}
	l, err := lock.FromFile(f, s.state, s.inst.LockName())
	if err != nil {
		if l != nil {
			s.former = append(s.former, l)
		}
		return err
	}
	s.lock.Store(l)
	fault.Point("daemon.adopted")
	return nil
}

// acquire is the foreground's way to the lock: guard, lock, inode.
func (s *server) acquire() (err error) {
	s.foreground = true
	if s.state, err = s.inst.OpenState(true); err != nil {
		return err
	}
	key, err := s.inst.Key(s.state)
	if err != nil {
		return err
	}
	guard, err := lock.TryGuard(key)
	if err != nil {
		return s.taken(err)
	}
	s.guards[key] = guard
	l, err := lock.TryAcquire(s.state, s.inst.LockName())
	if err != nil {
		guard.Close()
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
		Hint:    "stop that one first" + hint(s.inst, ": hob daemon stop", "")}
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
	for _, step := range s.steps() {
		err := step.do(ctx)
		// Else there is something that has to be stopped in good order: what runs, or who was welcomed.
		if ctx.Err() != nil && s.left == nil && !(step.stage == "publish" && err == nil) {
			err = spawn.ErrTerminated // also where the step has failed because of that
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

// step is one of a start.
type step struct {
	stage string
	do    func(context.Context) error
}

func (s *server) steps() []step {
	first := []step{{"identity", s.identify}, {"files", s.writeFiles}, {"load", s.load}}
	if s.left != nil {
		return append(first, step{"socket", s.rebind})
	}
	return append(first, step{"socket", s.bind}, step{"self-check", s.helloSelf}, step{"publish", s.publish})
}

// lookWhoGuards names another user's process that has the guard's name: the lock alone decides then.
func (s *server) lookWhoGuards() {
	key, err := s.inst.Key(s.state)
	if err != nil || s.guards[key] != nil {
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
	s.lookWhoGuards()
	for _, g := range s.guards {
		watchers.Go(g.Serve)
	}
	watchers.Go(func() { s.keep(ctx) })
	watchers.Go(func() { s.watchIdle(ctx) })
	go func() {
		defer close(s.running)
		if s.o.Run != nil {
			s.o.Run(ctx)
		}
		fault.Point("daemon.running")
	}()
	s.serveOwn()
	why, err := s.await(ctx)
	if err != nil {
		return err
	}
	cancel()
	s.stop(why)
	s.unguard()
	watchers.Wait()
	return nil
}

// await returns when the daemon is to leave. Requests to upgrade come in between; an error is of one that has let go of everything and
// could not be completed.
func (s *server) await(ctx context.Context) (stopRequest, error) {
	for {
		select {
		case <-s.stops.asked:
			return s.stops.take(), nil
		case <-ctx.Done():
			return stopRequest{Reason: context.Cause(ctx).Error()}, nil
		case r := <-s.requests:
			if err := s.upgrade(ctx, r); err != nil {
				return stopRequest{}, err
			}
		}
	}
}
