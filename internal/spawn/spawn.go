// Package spawn makes a daemon be there: it takes the lock, starts the daemon detached with the
// lock inherited, and waits for it to be ready, to fail, or for the deadline. A failure is
// recorded in the lock file, so that everybody who waits shares it. It never kills anything and
// never unlinks anything.
package spawn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// ErrHeld says that somebody has the lock: a daemon that serves, starts or stops, or a client
// that starts one. The caller waits and connects again.
var ErrHeld = lock.ErrHeld

// Command is how the daemon is started.
type Command struct {
	Argv []string // Argv[0] is a path
	Env  []string // added to the allow-list
}

// Failure is an attempt that failed, this client's own or one that it waited for.
type Failure struct {
	lock.Record
	Adopted bool          // another client's attempt
	TooMany time.Duration // > 0: no attempt was made, and none will be for so long
	Err     error         // the cause, where this process saw it
}

func (f *Failure) Error() string {
	if f.TooMany > 0 {
		return fmt.Sprintf("start the daemon: %d attempts failed within %.0fs, none is made for another %.0fs; the last: %s",
			lock.MaxFailures, lock.Window.Seconds(), f.TooMany.Seconds()+0.5, cmp.Or(f.Message, "its log says why")) // there was one by hand since
	}
	return fmt.Sprintf("start the daemon: %s: %s", f.Stage, f.Message)
}

// Unwrap gives the cause, where this process saw it.
func (f *Failure) Unwrap() error { return f.Err }

// Starter starts the daemon of one instance for one client. Use one for one Dial.
type Starter struct {
	Instance instance.Instance
	Command  Command
	Progress func(stage string) // the daemon says that it is getting on; may be nil
	Began    time.Duration      // lock.Now when the client began to wait; failures since then are its own
}

// Adopt gives the counted failure that was recorded since the client began, or nil.
func (s *Starter) Adopt() *Failure {
	state, err := s.Instance.OpenState(false)
	if err != nil {
		return nil
	}
	defer state.Close()
	r, ok := lock.ReadRecord(state, s.Instance.LockName())
	if !ok {
		return nil
	}
	return s.since(r)
}

func (s *Starter) since(r lock.Record) *Failure {
	boot, err := process.BootID()
	if err == nil && r.Phase == lock.Failed && r.Counted && r.Boot == boot && r.Failed > s.Began {
		return &Failure{Record: r, Adopted: true}
	}
	return nil
}

// Start makes one attempt. It answers ErrHeld at once when somebody has the lock. On success
// the connection is the first one to the daemon, which is ready: say hello on it. Otherwise the
// error is a *Failure, or why no attempt could be made. When ctx ends while the daemon is
// starting, the daemon is left alone: the lock tells the next client.
func (s *Starter) Start(ctx context.Context) (net.Conn, error) {
	state, err := s.Instance.OpenState(true)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	// Guard, then lock, then the check that the lock's path still names it, inside TryAcquire:
	// in this order a removed lock file can't lead to two daemons (TestLockFileRemoved).
	key, err := s.Instance.Key(state)
	if err != nil {
		return nil, err
	}
	if fault.Mutant("a starter removes the socket before it has the lock") {
		_ = os.Remove(s.Instance.Path(instance.SocketName))
	}
	guard, err := lock.TryGuard(key)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	fault.Point("client.guarded")
	l, err := lock.TryAcquire(state, s.Instance.LockName())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	fault.Point("client.locked")
	// No second connect under the lock: the daemon holds it for life, so having it proves that
	// no daemon is alive (TestStampede).
	return s.attempt(ctx, state, l, guard)
}

func (s *Starter) attempt(ctx context.Context, state *os.File, l *lock.Lock, guard *lock.Guard) (net.Conn, error) {
	boot, err := process.BootID()
	if err != nil {
		return nil, err
	}
	last, _ := l.Record()
	if f := s.since(last); f != nil {
		return nil, f
	}
	wait, tooMany := last.Wait(boot)
	if tooMany {
		return nil, &Failure{Record: last, Adopted: true, TooMany: wait}
	}
	if err := sleep(ctx, wait); err != nil {
		return nil, err
	}
	rec := last.Next(boot)
	if err := l.WriteRecord(rec); err != nil {
		return nil, err
	}
	fault.Point("client.recorded")
	conn, fail := s.exec(ctx, state, l, guard, &rec)
	if fail == nil {
		return conn, nil
	}
	if fail.Failed != 0 {
		_ = l.WriteRecord(fail.Record)
		fault.Point("client.failure-recorded")
	}
	return nil, fail
}

// exec starts the daemon and waits for it.
func (s *Starter) exec(ctx context.Context, state *os.File, l *lock.Lock, guard *lock.Guard, rec *lock.Record) (net.Conn, *Failure) {
	fail := func(stage string, err error) *Failure {
		rec.Fail(stage, code(err), err.Error(), true)
		return &Failure{Record: *rec, Err: err}
	}
	dir, err := s.Instance.OpenDir(state, true)
	if err != nil {
		return nil, fail("instance directory", err)
	}
	defer dir.Close()
	log, err := openLog(dir)
	if err != nil {
		return nil, fail("log", err)
	}
	defer log.Close()
	mark, _ := log.Seek(0, 2)
	near, far, err := socketpair()
	if err != nil {
		return nil, fail("socketpair", err)
	}
	files := handoff{ready: far, lock: l.File(), guard: guard.File()}
	proc, err := s.start(files, log)
	far.Close()
	if err != nil {
		near.Close()
		return nil, fail("exec", err)
	}
	fault.Point("client.spawned")
	a := awaited{conn: near, proc: proc, log: log, mark: mark, progress: s.Progress}
	return near, a.wait(ctx, rec)
}

// start executes the daemon: its own session, /dev/null, the log, an environment of our choice.
func (s *Starter) start(files handoff, log *os.File) (*os.Process, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   append(environ(s.Instance), append(s.Command.Env, files.env(s.Instance.ID))...),
		Files: append([]*os.File{null, log, log}, files.list()...),
		Sys:   detached(),
	}
	proc, err := os.StartProcess(s.Command.Argv[0], s.Command.Argv, attr)
	if err != nil {
		return nil, err
	}
	return proc, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// code gives the errno's name, for programs.
func code(err error) string {
	if errors.Is(err, ErrTerminated) {
		return CodeTerminated
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return "failed"
}
