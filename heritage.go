package hob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/upgrade"
)

// heritage is what a daemon leaves to the program that it becomes, beside the files of those names.
type heritage struct {
	Outcome outcome         `json:"outcome"`
	Socket  [2]uint64       `json:"socket"` // its file
	Conns   map[string]left `json:"conns"`  // by the name of the file
	Began   time.Time       `json:"began"`
	Stop    *stopRequest    `json:"stop,omitempty"` // what the next program is to do first

	Foreground bool              `json:"foreground,omitempty"`
	Guards     map[string]string `json:"guards,omitempty"` // keys, by the name of the file
	Former     int               `json:"former,omitempty"` // how many locks beside the one of now

	files map[string]*os.File
}

// left is one connection.
type left struct {
	Peer peer           `json:"peer"`
	At   *ipc.Suspended `json:"at"`
}

// The names of files.
const (
	lockFile     = "lock"
	formerPrefix = "former/" // of earlier locks
	guardPrefix  = "guard/"
	socketFile   = "socket"
	connPrefix   = "conn/"
	ownPrefix    = "own/" // of the daemon's own
)

// quiesce has nobody be served any more, without anybody noticing: who connects waits in the backlog, what is sent waits in the kernel. When
// it can't be done before ctx ends, everything is to be resumed.
func (s *server) quiesce(ctx context.Context) (*heritage, map[string]*os.File, error) {
	select {
	case <-s.running:
	case <-ctx.Done():
		return nil, nil, errors.New("the daemon is still starting")
	}
	h := &heritage{Socket: s.listener.ID(), Conns: map[string]left{}, Foreground: s.foreground}
	files := map[string]*os.File{}
	if err := s.listener.Suspend(ctx); err != nil {
		return nil, files, err
	}
	all := s.conns.list()
	if err := s.noneOwn(ctx, all); err != nil {
		return nil, files, err
	}
	failed := s.suspend(ctx, all, h, files)
	if failed == nil {
		failed = s.noneOwn(ctx, s.conns.list()) // one may just have said hello
	}
	if failed != nil {
		if names := s.conns.waiting(); errors.Is(failed, context.DeadlineExceeded) && len(names) > 0 {
			failed = s.inUse("another version", names)
		}
		return nil, files, failed
	}
	return h, files, s.keepPlace(h, files)
}

// suspend adds connections to h and files, between two requests each: whoever was about to say hello, and who he is, has been heard.
func (s *server) suspend(ctx context.Context, all map[*ipc.Conn]peer, h *heritage, files map[string]*os.File) (failed error) {
	for c := range all {
		c.Hush()
	}
	close(s.yielding())
	var wg sync.WaitGroup
	var mu sync.Mutex // guards h, files, failed
	n := 0
	for c := range all {
		n++
		name := connPrefix + strconv.Itoa(n)
		wg.Go(func() {
			at, err := c.Suspend(ctx)
			var f *os.File
			if err == nil {
				f, err = c.File()
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				h.Conns[name], files[name] = left{s.conns.who(c), at}, f
			case !errors.Is(err, ipc.ErrClosed): // that one needs nothing any more
				failed = err
			}
		})
	}
	wg.Wait()
	return failed
}

// noneOwn returns when nobody has a connection of the program's own protocol. The error names who has one. Who has closed his is waited for: what he
// sent is still to be read.
func (s *server) noneOwn(ctx context.Context, all map[*ipc.Conn]peer) error {
	ctx, cancel := context.WithTimeout(ctx, unreadTime)
	defer cancel()
	for {
		names, gone := s.own.names(all)
		if len(names)+len(gone) == 0 {
			return nil
		}
		if len(names) > 0 || ctx.Err() != nil {
			return s.inUse("another version", append(names, gone...))
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// unreadTime is how long what clients that have gone have sent may take to be read.
const unreadTime = time.Second

// keepPlace adds what makes the process the instance's daemon.
func (s *server) keepPlace(h *heritage, files map[string]*os.File) (err error) {
	l, err := s.listener.File()
	if err != nil {
		return err
	}
	files[socketFile] = l
	if fault.Mutant("the lock is let go of in an upgrade") {
		_ = unix.Flock(int(s.lock.Load().File().Fd()), unix.LOCK_UN)
	}
	if files[lockFile], err = duplicate(s.lock.Load().File()); err != nil {
		return err
	}
	for i, l := range s.former {
		if files[formerPrefix+strconv.Itoa(i)], err = duplicate(l.File()); err != nil {
			return err
		}
	}
	h.Former, h.Guards = len(s.former), map[string]string{}
	for key, g := range s.guards {
		if g == nil {
			continue
		}
		name := guardPrefix + strconv.Itoa(len(h.Guards))
		if files[name], err = duplicate(g.File()); err != nil {
			return err
		}
		h.Guards[name] = key
	}
	return nil
}

func duplicate(f *os.File) (*os.File, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := conn.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// resume goes on after quiesce.
func (s *server) resume() {
	for c := range s.conns.list() {
		c.Resume()
	}
	s.listener.Resume()
}

// succeed takes the place of the program that this process was before.
func (s *server) succeed(b upgrade.Bundle) error {
	s.left = &heritage{}
	if err := json.Unmarshal(b.State, s.left); err != nil {
		return fmt.Errorf("read what the program before has left: %w", err)
	}
	s.left.files, s.foreground = b.Files, s.left.Foreground
	s.settle(s.left.Outcome)
	if err := s.takeGuards(); err != nil {
		return err
	}
	f := s.left.take(lockFile)
	if f == nil || s.left.files[socketFile] == nil {
		return errors.New("the program before has left no lock, or no socket")
	}
	fault.Point("daemon.upgrade.inherited")
	err := s.adoptLock(f)
	if s.state == nil {
		return err
	}
	s.takeFormer()
	if errors.Is(err, lock.ErrReplaced) {
		// The lock file was removed meanwhile. As long as the guard is ours nobody can be about to take the new one: as at any other time.
		var l *lock.Lock
		if l, _, err = s.takeLock(s.state); err == nil {
			s.lock.Store(l)
		}
	}
	return err // if it is another directory by now, the first look takes the guard of that
}

// takeGuards takes over all guards.
func (s *server) takeGuards() error {
	for name, key := range s.left.Guards {
		g := s.left.take(name)
		if g == nil {
			continue
		}
		fd, err := unix.FcntlInt(g.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		g.Close()
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		s.guards[key] = lock.GuardFromFD(fd)
	}
	return nil
}

// takeFormer takes over the locks of files that the lock's path has named. They are nobody else's as long as this process has them.
func (s *server) takeFormer() {
	for i := range s.left.Former {
		f := s.left.take(formerPrefix + strconv.Itoa(i))
		if f == nil {
			continue
		}
		l, err := lock.FromFile(f, s.state, s.inst.LockName())
		if l == nil {
			s.log.Error("take over the lock of a state directory that was moved", "err", err)
			f.Close()
			continue
		}
		s.former = append(s.former, l)
	}
}

// take gives a file, once.
func (h *heritage) take(name string) *os.File {
	f := h.files[name]
	delete(h.files, name)
	return f
}

// own are the files of the daemon's own; nil for a daemon that was none before.
func (h *heritage) own() map[string]*os.File {
	if h == nil {
		return nil
	}
	files := map[string]*os.File{}
	for name := range h.files {
		if own, ok := strings.CutPrefix(name, ownPrefix); ok {
			files[own] = h.take(name)
		}
	}
	return files
}

// rebind goes on with the socket of before. Where its name was lost meanwhile, it is published anew by the first look at the place.
func (s *server) rebind(context.Context) error {
	l, err := ipc.Adopt(s.dir, instance.SocketName, s.left.take(socketFile), s.left.Socket)
	if err != nil {
		return err
	}
	s.listener = l
	fault.Point("daemon.upgrade.rebound")
	return s.writeRecord(lock.Serving)
}

// goOn serves those who were connected, and then those who have been waiting.
func (s *server) goOn() {
	for name, c := range s.left.Conns {
		f := s.left.take(name)
		if f == nil {
			continue
		}
		nc, err := net.FileConn(f)
		f.Close()
		if err != nil {
			s.log.Error("go on with a connection", "err", err)
			continue
		}
		s.serveFrom(nc, c.Peer, c.At)
	}
	go s.accept(s.listener)
	if s.left.Stop != nil {
		s.ask(*s.left.Stop)
	}
	s.log.Info("upgraded", "from", s.left.Outcome.From, "to", s.o.Build, "connections", len(s.left.Conns),
		"took", time.Since(s.left.Began).Round(time.Millisecond))
}
