package hob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/spawn"
)

// place is where the daemon can be found: it changes when files are removed under it.
type place struct {
	lock     atomic.Pointer[lock.Lock] // read by every hello, which waits for nothing
	mu       sync.Mutex                // guards all below
	state    *os.File                  // the state directory
	dir      *os.File                  // the instance directory
	listener *ipc.Listener
	guards   map[string]*lock.Guard // by key, of all state directories that the lock lay in; nil: there is none to be had
	former   []*lock.Lock           // of files that its path has named
	vacated  []*os.File             // state directories of before: as long as one is open its inode, and so its key, is no other one's
}

// meta is what list reads of an instance whose daemon does not run.
type meta struct {
	Project   string        `json:"project"`
	Name      string        `json:"name,omitempty"`
	ID        string        `json:"id"`
	Root      instance.Root `json:"root"`
	Pid       int           `json:"pid"`
	Build     string        `json:"build"`
	Protocol  int           `json:"protocol"`
	StartedAt string        `json:"started_at"`
}

// identify finds out who this process is, for the record.
func (s *server) identify(context.Context) (err error) {
	if s.self, err = process.Identify(os.Getpid()); err != nil {
		return err
	}
	s.pidNS, err = process.PidNamespace()
	return err
}

// writeFiles makes the directory and writes pid file, meta and record: they say who has the
// lock before anybody can connect.
func (s *server) writeFiles(context.Context) error {
	// Services and files must not keep a mount busy or depend on where a client stood.
	if err := os.Chdir("/"); err != nil {
		return err
	}
	dir, err := s.inst.OpenDir(s.state, true)
	if err != nil {
		return err
	}
	s.dir = dir
	if err := s.sweep(); err != nil {
		return err
	}
	return s.writeIdentity()
}

// sweep removes what killed predecessors left half done.
func (s *server) sweep() error {
	if err := instance.Sweep(s.dir); err != nil {
		return err
	}
	return ipc.Sweep(s.dir, instance.SocketName)
}

// writeIdentity is called again when the directory was removed.
func (s *server) writeIdentity() error {
	if err := instance.WriteFile(s.dir, instance.PidName, []byte(strconv.Itoa(s.self.Pid)+"\n")); err != nil {
		return err
	}
	fault.Point("daemon.pidfile")
	data, err := json.Marshal(meta{Project: s.inst.Root.Path, Name: s.inst.Name, ID: s.inst.ID, Root: s.inst.Root,
		Pid: s.self.Pid, Build: s.o.Build, Protocol: probe.MaxProtocol, StartedAt: s.started.Format("2006-01-02T15:04:05Z")})
	if err != nil {
		return err
	}
	if err := instance.WriteFile(s.dir, instance.MetaName, append(data, '\n')); err != nil {
		return err
	}
	return s.writeRecord(lock.Starting)
}

// writeRecord notes the phase in the lock file.
func (s *server) writeRecord(p lock.Phase) error {
	l := s.lock.Load()
	old, _ := l.Record()
	r := lock.Record{Attempt: old.Attempt, Failures: old.Failures, Boot: s.self.Boot, Phase: p,
		Pid: s.self.Pid, Start: s.self.Start, PidNS: s.pidNS, Since: lock.Now()}
	if p == lock.Serving {
		r.Failures = nil
	}
	return l.WriteRecord(r)
}

// load is before any socket, so that a failing start leaves nothing behind.
func (s *server) load(ctx context.Context) error {
	defer fault.Point("daemon.loaded")
	if s.o.Load == nil {
		return nil
	}
	spawn.Report(s.starter, spawn.Message{Progress: &spawn.Progress{Stage: "load"}})
	return s.o.Load(ctx, s.left.own())
}

// bind listens under a temporary name and starts to accept.
func (s *server) bind(context.Context) error {
	l, err := ipc.Listen(s.dir, instance.SocketName)
	if err != nil {
		return err
	}
	s.listener = l
	go s.accept(l)
	fault.Point("daemon.bound")
	return nil
}

// selfPatience is how long a daemon's own socket may take to answer it. One that can't be reached must not hold the lock for ever.
const selfPatience = 5 * time.Second

// helloSelf asks the socket as a client would, before anybody else can.
func (s *server) helloSelf(ctx context.Context) error {
	ctx, patience := probe.WithPatience(ctx, selfPatience)
	defer patience.Stop()
	c, err := ipc.Connect(ctx, s.dir, s.listener.Name())
	if err != nil {
		return err
	}
	conn, r := probe.Greet(ctx, ipc.NewConn(ctx, c, ipc.ConnOptions{}), s.self.Pid, hello(s.inst, "hobd", s.o.Build))
	if r.Verdict != probe.Ready {
		if r.Err == nil {
			r.Err = errors.New(r.Reason)
		}
		return fmt.Errorf("hello to itself: %s: %w", r.Verdict, r.Err)
	}
	fault.Point("daemon.self-hello")
	return conn.Close()
}

// publish gives the socket its name, after one more look that the lock is still the one: there
// is never a public socket that does not listen, or whose daemon lost its lock before.
func (s *server) publish(context.Context) error {
	if err := s.lock.Load().Verify(); err != nil {
		return err
	}
	fault.Point("daemon.verified")
	if err := s.listener.Publish(); err != nil {
		return err
	}
	fault.Point("daemon.published")
	return s.writeRecord(lock.Serving)
}

// ready tells the starter; from then on the channel is its connection.
func (s *server) ready() {
	fault.Point("daemon.before-ready")
	spawn.Report(s.starter, spawn.Message{Ready: &spawn.Ready{Pid: s.self.Pid}})
	if s.starter != nil {
		s.serveConn(s.starter)
	}
	if s.left != nil {
		s.goOn()
		return
	}
	s.log.Info("serving", "project", s.inst.Root.Path, "pid", s.self.Pid, "socket", s.inst.Path(instance.SocketName))
	fault.Point("daemon.ready")
}

// abandon removes what a failed start made; the lock is still held.
func (s *server) abandon() {
	if s.listener != nil {
		_ = s.listener.Unpublish()
		_ = s.listener.Close()
	}
	if s.dir != nil {
		_ = instance.Remove(s.dir, instance.PidName)
	}
	if s.starter != nil {
		s.starter.Close()
	}
}
