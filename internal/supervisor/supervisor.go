// Package supervisor decides a service's fate: what is started, what an exit means, what is
// stopped and what is taken over from a killed predecessor. One goroutine owns one service; what
// it does is a state × event table that can be printed. It never opens a socket, encodes JSON or
// touches os/exec.
package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hobworks/hob/internal/activation"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// Store keeps what a successor must find again.
type Store interface {
	Save(service.Status) error
	Delete(name string) error
}

// Options say where things are. All but Changed are required.
type Options struct {
	ID     string // of the instance; the mark of a process is ID/SERVICE/GENERATION
	Root   string // of the project
	Logs   string // directories for logs, FIFOs, locks and notification sockets, one entry a service
	FIFOs  string
	Locks  string
	Notify string
	Store  Store

	// ExecStep is the argv of what executes a service that gets a socket: see process.Spec.Via.
	ExecStep []string

	Log *slog.Logger

	// Keep sees to it that somebody has what Files gives before it returns. It may be nil.
	Keep func()

	// Changed is told of each change, by the goroutine of the service: it must not block. It may be nil.
	Changed func(from service.State, now service.Status)
}

// Settle is how long a service without declared readiness has to live to count as running.
const Settle = 300 * time.Millisecond

// The errors that a caller decides on.
var (
	ErrNoSuchService = errors.New("no such service")
	ErrNameTaken     = errors.New("another command has that name")
	ErrBusy          = errors.New("it is not stopped")
	ErrNotRunning    = errors.New("it is not running")
	ErrNoTerminal    = errors.New("it has no terminal")
	ErrClosed        = errors.New("the daemon is leaving")
)

// DiedError says that a service ended before it counted as running, or could not be executed.
type DiedError struct {
	Status service.Status
}

func (e *DiedError) Error() string {
	return fmt.Sprintf("service %q: %s", e.Status.Name, e.Status.Why)
}

// Supervisor is the set of services of one instance. Its methods may be called by several
// goroutines; they block as they say.
type Supervisor struct {
	o      Options
	reaper *process.Reaper
	poller *activation.Poller

	leases  atomic.Int32 // on everything
	adopted atomic.Bool

	applying sync.Mutex // held while a file is applied: one after the other

	mu     sync.Mutex // guards all, closed
	all    map[string]*svc
	closed bool

	ending atomic.Bool // nothing is started any more

	hub hub
}

// New gives a supervisor without services. The caller closes it.
func New(o Options) (*Supervisor, error) {
	poller, err := activation.NewPoller()
	if err != nil {
		return nil, err
	}
	return &Supervisor{o: o, reaper: process.NewReaper(), poller: poller, all: map[string]*svc{}}, nil
}

// Reap collects orphans that have exited, and lets the services know of which something was left.
// Call it at each SIGCHLD; it does not wait. Before the end of Adopt it does nothing, which then does it: a process that was this
// one's before an exec is nobody's orphan, and its exit would be lost.
func (s *Supervisor) Reap() {
	if !s.adopted.Load() {
		return
	}
	s.reaper.Reap()
	for _, v := range s.services() {
		if v.hasRest() {
			go v.post(event{kind: evOrphan})
		}
	}
}

// get finds a service.
func (s *Supervisor) get(name string) (*svc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.all[name]; ok && !v.over.Load() {
		return v, nil
	}
	return nil, fmt.Errorf("service %q: %w", name, ErrNoSuchService)
}

// obtain finds a service or makes one that is stopped. It waits while one of that name is removed.
func (s *Supervisor) obtain(spec service.Spec) (*svc, error) {
	for {
		v, err := s.tryObtain(spec)
		if err != nil || !v.over.Load() {
			return v, err
		}
		<-v.removed
	}
}

func (s *Supervisor) tryObtain(spec service.Spec) (*svc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ending.Load() {
		return nil, ErrClosed
	}
	if v, ok := s.all[spec.Name]; ok {
		return v, nil
	}
	v := newSvc(s, service.Status{Spec: spec, State: service.Stopped, Want: service.Down})
	s.all[spec.Name] = v
	return v, nil
}

func (s *Supervisor) forget(v *svc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[v.name] == v {
		delete(s.all, v.name)
	}
}

// services lists them by name.
func (s *Supervisor) services() []*svc {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*svc, 0, len(s.all))
	for _, v := range s.all {
		if !v.over.Load() {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b *svc) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return all
}

// RunOptions say how an ad-hoc service is started.
type RunOptions struct {
	Replace bool // what runs under that name is stopped first
	NoWait  bool // return once it is executed
	Lazy    bool // if it is on demand, its socket is enough
}

// Run starts an ad-hoc service, and waits, unless NoWait is set, until it is up or has ended. already
// means that the same command runs under that name and nothing was done. The error is ErrNameTaken
// for another command that runs under it, unless Replace is set, and for a service of the file; or a *DiedError.
func (s *Supervisor) Run(ctx context.Context, spec service.Spec, o RunOptions) (st service.Status, already bool, err error) {
	if err := errors.Join(service.CheckName(spec.Name), spec.CheckArgs()); err != nil {
		return st, false, err
	}
	v, err := s.obtain(spec)
	if err != nil {
		return st, false, err
	}
	start, now := v.start, v.status()
	if now.Source != service.SourceRun {
		return now, false, fmt.Errorf("service %q: %w: it is a service of %s", spec.Name, ErrNameTaken, now.Source)
	}
	if now.State.Active() {
		switch same := runsAs(now.Spec, spec); {
		case !same && !o.Replace:
			return now, false, nameTaken(now)
		case o.Replace, now.State == service.Stopping && !now.Parking, now.State.Pending():
			start = v.newRun
		case now.State == service.Stopping: // nobody has asked for that
		case now.State != service.Idle || o.Lazy:
			if now.Idle != spec.Idle {
				v.send(event{kind: evSpec, idle: &spec.Idle})
			}
			st, err = v.settled(ctx, now.Generation, o.NoWait)
			return st, true, err
		}
	}
	st, err = start(ctx, event{spec: &spec, trial: !o.Lazy, lazy: o.Lazy}, o.NoWait)
	if err == nil && !st.Same(spec) {
		err = nameTaken(st) // somebody else was quicker with another command
	}
	return st, false, err
}

func nameTaken(st service.Status) error {
	return fmt.Errorf("service %q: %w: it runs %q in %s", st.Name, ErrNameTaken, st.Cmd, st.Dir)
}

// Start starts a known service, and first what it needs, with the environment they had, and waits for
// the verdict: up or done, or failed for good (a *DiedError). What is up is left alone.
func (s *Supervisor) Start(ctx context.Context, name string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	if now := v.status(); now.State == service.Starting || now.State.Serving() {
		return v.settled(ctx, now.Generation, false)
	}
	s.startNeeds(name)
	return v.start(ctx, event{}, false)
}

// Stop stops services with their trees, each when nothing among them runs any more that needs it, and waits until
// nothing of any is left; when ctx ends there is no more grace. Those that are not running stay as they are.
func (s *Supervisor) Stop(ctx context.Context, names ...string) ([]service.Status, error) {
	some := make([]*svc, len(names))
	for i, name := range names {
		v, err := s.get(name)
		if err != nil {
			return nil, err
		}
		some[i] = v
	}
	return s.stopInOrder(some, func(v *svc) (service.Status, error) { return v.stop(ctx) })
}

// Restart stops and starts a service; env, when not nil, is its environment from now on.
func (s *Supervisor) Restart(ctx context.Context, name string, env []string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	if env != nil {
		spec := v.status().Spec
		spec.Env = env
		if err := spec.CheckArgs(); err != nil {
			return v.status(), err
		}
	}
	s.startNeeds(name)
	return v.newRun(ctx, event{env: env}, false)
}

// Remove forgets a service that does not run, with its log. Some of its tree may be left over
// from a run that ended by itself: that is stopped first.
func (s *Supervisor) Remove(ctx context.Context, name string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	if now := v.status(); now.State.Active() {
		return now, fmt.Errorf("service %q: %w but %s; stop it first", name, ErrBusy, now.State)
	}
	st, err := v.stop(ctx)
	if err != nil {
		return st, err
	}
	return st, v.remove(true)
}

// Signal sends a signal to the service's first process, or to its group.
func (s *Supervisor) Signal(name string, sig Signal) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	st := v.status()
	if !st.State.Alive() {
		return st, fmt.Errorf("service %q: %w (%s)", name, ErrNotRunning, st.State)
	}
	if err := v.signal(sig); err != nil {
		return st, fmt.Errorf("service %q: %w", name, err)
	}
	return st, nil
}

// Status gives one service.
func (s *Supervisor) Status(name string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	return v.status(), nil
}

// List gives all services, by name.
func (s *Supervisor) List() []service.Status {
	var all []service.Status
	for _, v := range s.services() {
		all = append(all, v.status())
	}
	return all
}

// Close lets go of every service as it is: what runs goes on, for the next daemon to adopt. No
// service can be started any more. It returns when the logs are no longer written.
func (s *Supervisor) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, v := range s.services() {
		all.Go(v.close)
	}
	all.Wait()
	s.poller.Close()
}

// Files gives duplicates of what would be lost with this process and must not be, by name: the sockets that are held
// and the terminals. One that can't be duplicated is nil. The caller closes them.
func (s *Supervisor) Files() map[string]*os.File {
	all, _ := s.duplicates()
	return all
}

// duplicates is Files, and why some are nil that are not just being closed.
func (s *Supervisor) duplicates() (all map[string]*os.File, err error) {
	all = map[string]*os.File{}
	note := func(ferr error) {
		if ferr != nil && !errors.Is(ferr, os.ErrClosed) {
			err = cmp.Or(err, ferr) // one will do
		}
	}
	for _, v := range s.services() {
		v.mu.Lock()
		sock, term := v.pubSock, v.pubTerm
		v.mu.Unlock()
		if sock != nil {
			f, ferr := sock.Duplicate()
			all[socketFile+v.name] = f
			note(ferr)
		}
		if term != nil {
			f, ferr := term.File()
			all[terminalFile+v.name] = f
			note(ferr)
		}
	}
	return all, err
}

// keep is for something new that Files gives. During an adoption all of it is, and is kept once that is complete: an earlier
// keeper has it until then.
func (s *Supervisor) keep() {
	if s.o.Keep != nil && s.adopted.Load() {
		s.o.Keep()
	}
}

// The names of files that a successor gets.
const (
	socketFile   = "socket/"
	terminalFile = "tty/"
)

func (s *Supervisor) logDir(name string) string { return filepath.Join(s.o.Logs, name) }
