package hob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
)

const (
	slowPoll  = time.Minute           // behind the watch, which can be missing or miss something
	fastPoll  = 2 * time.Second       // where there is no watch
	soonPoll  = 50 * time.Millisecond // where there was none for want of the directory: whoever removes it may not be through with that
	rootGrace = 30 * time.Second      // a project's directory may be gone that long: git worktree, a remount
)

// keep looks after the daemon's place until ctx ends: is the lock file still the one, is the
// socket still there, is the project?
func (s *server) keep(ctx context.Context) {
	var rootGone time.Time
	for {
		changed, stop := s.watch()
		poll := slowPoll
		switch mended, failed := s.check(); {
		case failed:
			changed, poll = nil, fastPoll // what was tried has changed something
		case changed == nil && mended:
			poll = soonPoll
		case changed == nil:
			poll = fastPoll
		}
		switch {
		case !s.inst.Root.Gone():
			rootGone = time.Time{}
		case rootGone.IsZero():
			rootGone = time.Now()
		case time.Since(rootGone) >= rootGrace:
			s.log.Warn("the project's directory is gone", "project", s.inst.Root.Path)
			s.ask(stopRequest{Reason: "the project's directory is gone"})
		}
		if !rootGone.IsZero() {
			poll = min(poll, time.Second)
		}
		t := time.NewTimer(poll)
		select {
		case <-ctx.Done():
			t.Stop()
			stop()
			return
		case <-changed:
		case <-s.nudged:
		case <-t.C:
		}
		t.Stop()
		stop()
	}
}

// watch is made anew for each look: a directory that was removed and made again is another one.
// It is in place before the look, so that nothing between two looks goes unseen.
func (s *server) watch() (<-chan struct{}, func()) {
	above := parents(s.inst.State)
	if real, err := filepath.EvalSymlinks(s.inst.State); err == nil && real != s.inst.State {
		above = append(above, parents(real)...)
	}
	changed, stop, err := instance.Watch([]string{s.inst.State, s.inst.Dir()}, []string{s.inst.Root.Path}, above)
	if err != nil {
		s.log.Debug("no watch, polling", "err", err)
		return nil, func() {}
	}
	return changed, stop
}

// parents are the directories above one, without that of all.
func parents(dir string) (all []string) {
	for dir = filepath.Dir(dir); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		all = append(all, dir)
	}
	return all
}

// nudge asks for a look now.
func (s *server) nudge() {
	select {
	case s.nudged <- struct{}{}:
	default:
	}
}

// check mends what was removed, and reports whether it was the socket or the pid file, or failed to. When the lock's path is not our inode any more and
// another has the new one, that one rules: we leave and unlink nothing.
func (s *server) check() (mended, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns.leaving() != "" {
		return false, false
	}
	switch err := s.lock.Load().Verify(); {
	case errors.Is(err, lock.ErrReplaced), err == nil && !leadsTo(s.inst.State, s.state):
		if !s.relock() {
			return false, true
		}
	case err != nil: // to take it again would fail, since we have it
		s.log.Error("look at the lock", "err", err)
		return false, true
	}
	if err := s.reguard(); err != nil {
		s.log.Warn("take the guard", "err", err)
		failed = true
	}
	if s.listener.Published() && leadsTo(s.inst.Dir(), s.dir) && s.identityThere() || fault.Mutant("nothing is mended") {
		return false, failed
	}
	if err := s.republish(); err != nil {
		s.log.Error("publish the socket again", "err", err)
		return false, true
	}
	s.log.Warn("files of the daemon were removed and are back", "dir", s.inst.Dir())
	if s.o.Heal != nil {
		s.o.Heal()
	}
	return true, failed
}

// relock takes the lock where its path leads now. While the state directory is the same the guard is still ours, so no client can be between its
// guard and its lock.
func (s *server) relock() bool {
	state, err := s.inst.OpenState(true)
	if err != nil {
		s.log.Error("open the state directory again", "err", err)
		return false
	}
	// What was left stays open: whoever goes to a state directory that was moved is told who has it.
	s.forgetDeleted()
	s.former = append(s.former, s.lock.Load()) // which may be back already
	l, back, err := s.takeLock(state)
	if err != nil {
		s.former = s.former[:len(s.former)-1]
		state.Close()
		if isHeld(err) {
			s.log.Warn("the lock file was removed and another daemon has the new one")
			s.ask(stopRequest{Reason: "another daemon has the lock", Keep: true, Yield: true})
			return false
		}
		s.log.Error("take the lock again", "err", err)
		return false
	}
	s.vacated = append(s.vacated, s.state)
	s.state = state
	s.lock.Store(l)
	s.log.Warn("the lock file was removed, a new one is held", "it_came_back", back)
	if err := s.writeRecord(lock.Serving); err != nil {
		s.log.Error("write the record", "err", err)
	}
	return true
}

// forgetDeleted lets go of what can't come back. What was replaced last is still there then, for whoever looks at it just now.
func (s *server) forgetDeleted() {
	s.former = slices.DeleteFunc(s.former, func(l *lock.Lock) bool { return l.Deleted() && l.Close() == nil })
	s.vacated = slices.DeleteFunc(s.vacated, func(dir *os.File) bool {
		var st unix.Stat_t
		deleted := unix.Fstat(int(dir.Fd()), &st) == nil && st.Nlink == 0
		return (deleted || sameFile(dir, s.state)) && dir.Close() == nil
	})
}

// takeLock takes the lock in the state directory; back: it is one that this process has had all the time.
func (s *server) takeLock(state *os.File) (l *lock.Lock, back bool, err error) {
	if l, back = s.formerly(state); back {
		return l, true, nil
	}
	l, err = lock.TryAcquire(state, s.inst.LockName())
	if isHeld(err) { // by this process, if it has come back just now
		if old, back := s.formerly(state); back {
			return old, true, nil
		}
	}
	return l, false, err
}

// formerly takes out the lock that lies in the state directory once more: this process has it, and could not take it anew.
func (s *server) formerly(state *os.File) (*lock.Lock, bool) {
	for i, old := range s.former {
		if old.In(state) {
			s.former = slices.Delete(s.former, i, i+1)
			return old, true
		}
	}
	return nil, false
}

// reguard takes the guard of the state directory where the lock lies now. ErrHeld is of a client that is about to find the lock held.
func (s *server) reguard() error {
	key, err := s.inst.Key(s.state)
	if err != nil {
		return err
	}
	if _, known := s.guards[key]; known {
		return nil
	}
	g, err := lock.TryGuard(key)
	if err != nil {
		return err
	}
	s.guards[key] = g
	go g.Serve()
	return nil
}

// unguard lets go of all guards.
func (s *server) unguard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.guards {
		g.Close()
	}
}

func (s *server) identityThere() bool {
	_, err := os.Lstat(s.inst.Path(instance.PidName))
	return err == nil
}

// leadsTo reports whether the path, by which clients go, leads to the open directory.
func leadsTo(path string, dir *os.File) bool {
	there, err := os.Lstat(path)
	if err != nil {
		return false
	}
	open, err := dir.Stat()
	return err == nil && os.SameFile(there, open)
}

func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	two, err := b.Stat()
	return err == nil && os.SameFile(one, two)
}

// republish binds a new socket when the old name is lost: a socket can be named only once.
func (s *server) republish() (err error) {
	dir, err := s.inst.OpenDir(s.state, true)
	if err != nil {
		return err
	}
	old := s.dir
	published := s.listener.Published() && sameFile(old, dir) // what was moved away is published nowhere
	s.dir = dir
	defer func() {
		if err != nil || published { // the listener has the old one
			s.dir = old
			dir.Close()
		}
	}()
	if err := s.writeIdentity(); err != nil {
		return err
	}
	if err := s.writeRecord(lock.Serving); err != nil || published {
		return err
	}
	l, err := ipc.Listen(dir, instance.SocketName)
	if err != nil {
		return err
	}
	go s.accept(l)
	if err := l.Publish(); err != nil {
		l.Close()
		return err
	}
	fault.Point("daemon.republished")
	// Whoever connected to the old one is served; nobody else can reach it.
	_ = s.listener.Close()
	s.listener = l
	return nil
}

// grace is how long the answers to calls may take to be delivered after Stop.
const grace = 2 * time.Second

// stop leaves in good order. The socket goes first and while the lock is held, so that it can
// only be ours; the backlog is answered, so that nobody who got through sees a reset; and the lock
// is released by the exit of the process, after everything.
func (s *server) stop(why stopRequest) {
	s.log.Info("stopping", "reason", why.Reason, "keep", why.Keep)
	s.conns.drain(why.Reason)
	s.own.leave()
	if fault.Mutant("lock released before the cleanup") {
		s.lock.Load().Close()
		s.unguard()
	}
	s.mu.Lock()
	l := s.listener
	if !why.Yield {
		_ = s.writeRecord(lock.Stopping)
		fault.Point("daemon.stop.recorded")
		_ = l.Unpublish()
		fault.Point("daemon.stop.unpublished")
	}
	s.mu.Unlock()
	for {
		c, ok := l.AcceptPending()
		if !ok {
			break
		}
		s.admit(c)
	}
	_ = l.Close()
	fault.Point("daemon.stop.drained")
	s.end(why)
	if !why.Yield {
		_ = instance.Remove(s.dir, instance.PidName)
		fault.Point("daemon.stop.pid-removed")
		_ = s.writeRecord(lock.Gone)
		if fault.Mutant("lock file removed at the end") {
			_ = os.Remove(s.inst.LockPath())
		}
	}
	s.log.Info("stopped")
}

// end lets Run and then Stop finish, and the answers get to their clients.
func (s *server) end(why stopRequest) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.o.Hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	<-s.running
	if s.o.Stop != nil {
		s.o.Stop(ctx, why.Keep)
	}
	fault.Point("daemon.stop.stopped")
	answers, cancelGrace := context.WithTimeout(ctx, grace)
	defer cancelGrace()
	var own sync.WaitGroup
	own.Go(func() { s.own.finish(answers) })
	s.conns.finish(answers)
	own.Wait()
}
