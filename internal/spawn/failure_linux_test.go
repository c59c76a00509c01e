package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// TestFailureIsItsReason: each way to fail comes back as what happened, is recorded as that, and
// the lock is free again when the daemon is gone.
func TestFailureIsItsReason(t *testing.T) {
	for role, want := range map[string]struct {
		stage, code, says string
		uncounted, lives  bool
	}{
		"error":        {stage: "bind", code: "EADDRINUSE", says: "bind /x: address already in use"},
		"terminated":   {stage: "start", code: CodeTerminated, says: "told to stop", uncounted: true},
		"exit":         {stage: "start", code: "exited", says: "hobd (pid PID) ended with exit status 3 before it was ready: hobd: the disk is on fire"},
		"exit 0":       {stage: "start", code: "exited", says: "hobd (pid PID) ended with exit status 0 before it was ready"},
		"panic":        {stage: "start", code: "exited", says: "hobd (pid PID) ended with exit status 2 before it was ready: panic: boom"},
		"signal":       {stage: "start", code: "exited", says: "hobd (pid PID) was killed by SIGKILL", uncounted: true},
		"half a line":  {stage: "start", code: "exited", says: `hobd (pid PID) ended with exit status 4 before it was ready, having said "{\"rea"`},
		"garbage":      {stage: "start", code: "nonsense", says: `hobd (pid PID) said "Usage: not-a-hobd [OPTION]\x1b[31m" instead of ready: is that program a hobd?`, lives: true},
		"empty object": {stage: "start", code: "nonsense", says: `hobd (pid PID) said "{}" instead of ready: is that program a hobd?`, lives: true},
		"endless line": {stage: "start", code: "nonsense", says: `hobd (pid PID) said "\x00`, lives: true},
		"mute":         {stage: "start", code: "exited", says: "hobd (pid PID) closed the readiness channel and lives on", lives: true},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.fail(role)
			pid := w.daemon().Pid
			require.Equal(t, want.stage, f.Stage)
			require.Equal(t, want.code, f.Code)
			require.True(t, strings.HasPrefix(f.Message, strings.ReplaceAll(want.says, "PID", fmt.Sprint(pid))), "%q", f.Message)
			require.Equal(t, "start the daemon: "+want.stage+": "+f.Message, f.Error())
			require.False(t, f.Adopted)
			require.Zero(t, f.TooMany)
			require.NotContains(t, f.Message, "\x1b")

			r := w.record()
			require.Equal(t, f.Record, r)
			require.Equal(t, lock.Failed, r.Phase)
			require.Equal(t, int64(1), r.Attempt)
			require.Equal(t, !want.uncounted, r.Counted)
			require.Len(t, r.Failures, map[bool]int{false: 1, true: 0}[want.uncounted])
			if want.lives {
				require.NoError(t, unix.Kill(pid, 0), "spawn kills nothing")
				require.True(t, w.held(), "it has its lock, so nobody starts another")
				_, err := w.starter("ready").Start(t.Context())
				require.ErrorIs(t, err, ErrHeld)
			} else {
				w.free()
			}
		})
	}
}

// TestFailureBeforeExec is recorded in the same way: the next client must not try it at once again.
func TestFailureBeforeExec(t *testing.T) {
	for what, c := range map[string]struct {
		argv  string
		spoil func(w *world) error
		stage string
		code  string
		is    error
	}{
		"no such program": {argv: "/nonexistent/hobd", stage: "exec", code: "ENOENT", is: unix.ENOENT},
		"not executable":  {argv: "/dev/null", stage: "exec", code: "EACCES", is: unix.EACCES},
		"log is a directory": {spoil: func(w *world) error { return os.MkdirAll(w.inst.Path(instance.DaemonLog), 0o700) },
			stage: "log", code: "EISDIR", is: unix.EISDIR},
		"log is a FIFO": {spoil: func(w *world) error {
			return errors.Join(os.MkdirAll(w.inst.Dir(), 0o700), unix.Mkfifo(w.inst.Path(instance.DaemonLog), 0o600))
		}, stage: "log", code: "failed"},
		"log is a symlink": {spoil: func(w *world) error {
			return errors.Join(os.MkdirAll(w.inst.Dir(), 0o700), os.Symlink("/dev/null", w.inst.Path(instance.DaemonLog)))
		}, stage: "log", code: "ELOOP", is: unix.ELOOP},
		"instance directory is open to others": {spoil: func(w *world) error {
			return errors.Join(os.MkdirAll(w.inst.Dir(), 0o700), os.Chmod(w.inst.Dir(), 0o755))
		}, stage: "instance directory", code: "failed"},
		"instance directory is a file": {spoil: func(w *world) error {
			return errors.Join(os.MkdirAll(w.inst.State, 0o700), os.WriteFile(w.inst.Dir(), nil, 0o600))
		}, stage: "instance directory", code: "failed"},
	} {
		w := newWorld(t)
		s := w.starter("ready")
		if c.argv != "" {
			s.Command.Argv = []string{c.argv}
		}
		if c.spoil != nil {
			require.NoError(t, c.spoil(w), what)
		}
		_, err := s.Start(t.Context())
		var f *Failure
		require.ErrorAs(t, err, &f, what)
		require.Equal(t, c.stage, f.Stage, what)
		require.Equal(t, c.code, f.Code, what)
		require.NotNil(t, f.Err, what)
		require.ErrorIs(t, err, f.Err)
		if c.is != nil {
			require.ErrorIs(t, err, c.is, what)
		}
		require.Equal(t, f.Record, w.record(), what)
		require.True(t, w.record().Counted)
		require.Empty(t, w.daemons())
		w.free()
	}
}

// TestReasonOfALongLog is its end, and a panic's beginning; what earlier daemons wrote is not it.
func TestReasonOfALongLog(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.inst.Dir(), 0o700))
	old := "panic: of another time\n" + strings.Repeat("old line\n", 10_000)
	require.NoError(t, os.WriteFile(w.inst.Path(instance.DaemonLog), []byte(old), 0o600))
	f := w.fail("exit")
	require.NotContains(t, f.Message, "old line")
	require.NotContains(t, f.Message, "another time")
	require.Contains(t, f.Message, "the disk is on fire")
}

// TestWaiterAdoptsTheFailure of an attempt that ended after it began to wait, and makes none of its own.
func TestWaiterAdoptsTheFailure(t *testing.T) {
	w := newWorld(t)
	early := w.starter("ready")
	require.Nil(t, early.Adopt(), "there is no record")
	own := w.fail("exit")
	got := early.Adopt()
	require.NotNil(t, got)
	require.True(t, got.Adopted)
	require.Equal(t, own.Record, got.Record)
	_, err := early.Start(t.Context())
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.True(t, f.Adopted)
	require.Equal(t, own.Error(), f.Error())
	require.Len(t, w.daemons(), 1, "no second attempt")

	late := w.starter("ready")
	require.Nil(t, late.Adopt(), "it failed before this client began")
	c, err := late.Start(t.Context())
	require.NoError(t, err)
	defer c.Close()
}

func TestDeathBySignalIsNobodysFailureButTheClients(t *testing.T) {
	w := newWorld(t)
	early := w.starter("ready")
	for n := 1; n <= lock.MaxFailures+1; n++ {
		w.fail("signal")
		require.Equal(t, int64(n), w.record().Attempt)
		require.Nil(t, early.Adopt())
		w.free()
	}
	c, err := early.Start(t.Context())
	require.NoError(t, err)
	defer c.Close()
}

// TestThreeFailuresAndNoMoreAttempts: the fourth client gets the reason without a daemon being started.
func TestThreeFailuresAndNoMoreAttempts(t *testing.T) {
	w := newWorld(t)
	var failed time.Duration
	for n := 1; n <= lock.MaxFailures; n++ {
		f := w.fail("exit")
		require.Equal(t, int64(n), f.Attempt)
		if n > 1 {
			require.GreaterOrEqual(t, f.Since-failed, lock.Pause, "a herd shares an attempt, so there is a pause after a failure")
		}
		failed = f.Failed
		w.free()
	}
	before := w.record()
	f := w.fail("ready")
	require.Positive(t, f.TooMany)
	require.LessOrEqual(t, f.TooMany, lock.Window)
	require.True(t, f.Adopted)
	require.Contains(t, f.Error(), "start the daemon: 3 attempts failed within 30s, none is made for another ")
	require.Contains(t, f.Error(), "the disk is on fire")
	require.Equal(t, before, w.record())
	require.Len(t, w.daemons(), lock.MaxFailures)
	w.free()
	w.write(before.Next(before.Boot)) // one by hand, which was killed
	require.Contains(t, w.fail("ready").Error(), "; the last: its log says why")
	w.free()
}

// TestFailuresOfAnotherTimeDoNotCount: of another boot, or long ago.
func TestFailuresOfAnotherTimeDoNotCount(t *testing.T) {
	boot, err := process.BootID()
	require.NoError(t, err)
	now := lock.Now()
	for what, r := range map[string]lock.Record{
		"another boot": {Boot: "another", Failures: []lock.Failure{{At: now}, {At: now}, {At: now}}},
		"long ago":     {Boot: boot, Failures: []lock.Failure{{At: now - lock.Window}, {At: now - lock.Window}, {At: now - lock.Window}}},
	} {
		w := newWorld(t)
		r.Attempt, r.Phase, r.Counted, r.Failed = 41, lock.Failed, true, now+time.Hour
		if what == "long ago" {
			r.Failed = now - lock.Window
		}
		w.write(r)
		require.Nil(t, w.starter("ready").Adopt(), what)
		w.must("ready")
		require.Equal(t, int64(42), w.record().Attempt, what)
		require.Empty(t, w.record().Failures, what)
	}
}

// TestJunkInTheLockFileIsNoRecord and no reason not to start.
func TestJunkInTheLockFileIsNoRecord(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.Mkdir(w.inst.State, 0o700))
	require.NoError(t, os.WriteFile(w.inst.LockPath(), []byte(strings.Repeat("junk", 10_000)), 0o600))
	require.Nil(t, w.starter("ready").Adopt())
	w.must("ready")
	require.Equal(t, int64(1), w.record().Attempt)
}

// TestPatienceIsNotProlongedByAnEndedContext: ctx ends exactly between two deadlines.
func TestPatienceIsNotProlongedByAnEndedContext(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := &endsContext{Conn: near, cancel: cancel, past: make(chan struct{})}
	proc, err := os.StartProcess(self, []string{self, "-test.run=^$"}, &os.ProcAttr{})
	require.NoError(t, err)
	pid := proc.Pid
	a := awaited{conn: c, proc: proc}
	done := make(chan *Failure, 1)
	go func() { done <- a.wait(ctx, &lock.Record{}) }()
	select {
	case f := <-done:
		require.ErrorIs(t, f.Err, context.Canceled)
	case <-time.After(Patience / 2): // the deadline that must not count is all of it away
		t.Error("waits on although its context ended")
		far.Close()
		<-done
	}
	eventually(t, "the process is reaped", func() bool {
		_, err := process.Stat(pid)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// TestStarterThatWasStopped: it slept through all its patience, in the middle of a line, and hears what was said meanwhile.
func TestStarterThatWasStopped(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	proc, err := os.StartProcess(self, []string{self, "-test.run=^$"}, &os.ProcAttr{})
	require.NoError(t, err)
	pid := proc.Pid
	go io.WriteString(far, `{"progress":{"stage":"load"}}`+"\n"+`{"ready":{"pid":1}}`+"\n")
	a := awaited{conn: &sleeper{Conn: near}, proc: proc}
	require.Nil(t, a.wait(t.Context(), &lock.Record{}))
	eventually(t, "the process is reaped", func() bool {
		_, err := process.Stat(pid)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// sleeper finds all deadlines but those of a last look over after some reads.
type sleeper struct {
	net.Conn
	reads int
	last  bool
}

func (c *sleeper) SetReadDeadline(t time.Time) error {
	c.last = !t.IsZero() && time.Until(t) <= lastLook
	return nil
}

func (c *sleeper) Read(p []byte) (int, error) {
	if c.reads++; c.reads > 5 && !c.last {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p)
}

// endsContext ends the context when the first deadline is set, and sets it only when the context's
// own has been.
type endsContext struct {
	net.Conn
	cancel func()
	past   chan struct{}
	first  bool
}

func (c *endsContext) SetReadDeadline(t time.Time) error {
	if t.Before(time.Now()) {
		err := c.Conn.SetReadDeadline(t)
		select {
		case <-c.past:
		default:
			close(c.past)
		}
		return err
	}
	if !c.first {
		c.first = true
		c.cancel()
		<-c.past
	}
	return c.Conn.SetReadDeadline(t)
}

func TestInherit(t *testing.T) {
	inst := instance.Instance{ID: "0123456789abcdef"}
	for value, want := range map[string]struct {
		in Inherited
		ok bool
	}{
		"0123456789abcdef:3,4,5":  {Inherited{3, 4, 5}, true},
		"0123456789abcdef:3,4,-1": {Inherited{3, 4, -1}, true},
	} {
		t.Setenv(Env, value)
		in, ok, err := Inherit(inst)
		require.NoError(t, err)
		require.Equal(t, want.ok, ok)
		require.Equal(t, want.in, in)
		require.Empty(t, os.Getenv(Env))
		_, ok, err = Inherit(inst)
		require.NoError(t, err)
		require.False(t, ok, "once")
	}
	for _, value := range []string{"x", ":3,4,5", "fedcba9876543210:3,4,5", "0123456789abcdef", "0123456789abcdef:", "0123456789abcdef:3,4",
		"0123456789abcdef:3,4,5,6", "0123456789abcdef:3,4,x", "0123456789abcdef:3,4,0", "0123456789abcdef:2,4,5", "0123456789abcdef:3,-2,5",
		"0123456789abcdef:-1,4,5", "0123456789abcdef:3,-1,5"} {
		t.Setenv(Env, value)
		_, ok, err := Inherit(inst)
		require.Error(t, err, value)
		require.False(t, ok, value)
		require.Empty(t, os.Getenv(Env), "cleared in any case: %s", value)
	}
}
