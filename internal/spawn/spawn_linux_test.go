package spawn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/lock"
)

func TestReadyDaemonIsThereAndTheChannelIsItsFirstConnection(t *testing.T) {
	w := newWorld(t)
	c := w.must("ready")
	_, err := io.WriteString(c, "a line\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "a line\n", line)
	require.NotEqual(t, os.Getpid(), w.daemon().Pid)
}

// TestNothingAfterReadyIsLost: it belongs to the connection.
func TestNothingAfterReadyIsLost(t *testing.T) {
	c := newWorld(t).must("greet")
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
}

// TestDaemonIsDetached: own session, no terminal, no directory kept busy, nothing of the client's
// but three descriptors, though the client leaks one.
func TestDaemonIsDetached(t *testing.T) {
	leak, err := unix.FcntlInt(1, unix.F_DUPFD, 50) // without close-on-exec
	require.NoError(t, err)
	defer unix.Close(leak)
	w := newWorld(t)
	w.must("ready")
	d := w.daemon()
	require.Equal(t, d.Pid, d.Session)
	require.Equal(t, "/", d.Dir)
	log := w.inst.Path(instance.DaemonLog)
	require.Equal(t, [3]string{os.DevNull, log, log}, d.Std)
	require.True(t, d.Ok)
	require.Equal(t, Inherited{Ready: 3, Lock: 4, Guard: 5}, d.Inherited)
	require.False(t, d.EnvIsTheirs, "a service would take itself for the daemon")
	require.Contains(t, d.Leaked, leak)
	require.Equal(t, []int{3, 4, 5}, d.Left)
	fi, err := os.Stat(log)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode())
}

// TestDaemonHasAnAllowedEnvironment, not that of whichever client happened to start it.
func TestDaemonHasAnAllowedEnvironment(t *testing.T) {
	for _, kv := range []string{"LD_PRELOAD=/nonexistent.so", "LD_LIBRARY_PATH=/x", "GODEBUG=madvdontneed=1", "GOTRACEBACK=none",
		"GOMAXPROCS=1", "SSH_AUTH_SOCK=/x", "BASH_ENV=/x", "ENV=/x", "DATABASE_URL=x", "HOB_FAULT=client.locked=exit", "HOB_PROJECT=/x",
		"HOB_ID=x/y/1", "HOB_STATE_DIR=/elsewhere", "TMPDIR=" + t.TempDir(), "XDG_RUNTIME_DIR=/x", "NOTIFY_SOCKET=/x", "LISTEN_FDS=1",
		"PWD=/x", "LC_TIME=C", "LC_ALL=C", "LANG=C", "TZ=UTC", "XDG_STATE_HOME=/x/y"} {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	w := newWorld(t)
	s := w.starter("ready")
	s.Command.Env = append(s.Command.Env, "OURS=1")
	c, err := s.Start(t.Context())
	require.NoError(t, err)
	defer c.Close()
	got := map[string]string{}
	for _, kv := range w.daemon().Env {
		name, value, _ := strings.Cut(kv, "=")
		require.NotContains(t, got, name, "twice")
		got[name] = value
	}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOB_DAEMON", "LANGUAGE", roleVar, factsVar, "GORACE", Env} {
		delete(got, name) // there when the client has them
	}
	require.Equal(t, map[string]string{"LC_TIME": "C", "LC_ALL": "C", "LANG": "C", "TZ": "UTC", "XDG_STATE_HOME": "/x/y",
		"HOB_STATE_DIR": w.inst.State, "GOTRACEBACK": "all", "OURS": "1"}, got)
}

// TestLockOutlivesTheClientsCopy: Start closed its own, and the daemon's holds.
func TestLockOutlivesTheClientsCopy(t *testing.T) {
	w := newWorld(t)
	c := w.must("ready")
	require.NoError(t, c.Close())
	require.True(t, w.held())
	require.True(t, w.guarded())
	w.state(func(dir *os.File) {
		_, err := lock.TryAcquire(dir, w.inst.LockName())
		require.ErrorIs(t, err, lock.ErrHeld)
	})
	w.end(w.daemon().Pid)
	w.free()
	w.must("ready")
	require.Len(t, w.daemons(), 2)
}

// TestNoDescriptorOfTheClientStaysOpen, whatever becomes of the attempt.
func TestNoDescriptorOfTheClientStaysOpen(t *testing.T) {
	before := openFiles(t)
	w := newWorld(t)
	require.NoError(t, w.must("ready").Close())
	_, err := w.starter("ready").Start(t.Context())
	require.ErrorIs(t, err, ErrHeld)
	w.end(w.daemon().Pid)
	w.free()
	for _, role := range []string{"exit", "error", "signal"} {
		w = newWorld(t)
		w.fail(role)
		w.free()
	}
	eventually(t, "as many files are open as before", func() bool { return openFiles(t) <= before })
}

// openFiles counts descriptors of files, sockets and pipes, but not those of the runtime.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	n := 0
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "/tmp") || strings.Contains(to, "hob") || strings.Contains(to, "pidfd") {
			n++
		}
	}
	return n
}

// TestReadyDaemonIsReaped when it ends, though the client lives on and asks for nothing.
func TestReadyDaemonIsReaped(t *testing.T) {
	w := newWorld(t)
	w.must("ready")
	w.end(w.daemon().Pid)
}

func TestHeldIsSaidAtOnce(t *testing.T) {
	for _, role := range []string{"ready", "silent"} {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if c, err := w.starter(role).Start(ctx); err == nil {
				c.Close()
			}
		}()
		eventually(t, "there is a daemon", func() bool { return len(w.daemons()) == 1 })
		c, err := w.starter("ready").Start(t.Context())
		require.Nil(t, c)
		require.ErrorIs(t, err, ErrHeld, role)
		cancel()
		<-done
		require.Len(t, w.daemons(), 1)
	}
}

// TestHeldByTheLockAlone: the other has no guard, as on a system without.
func TestHeldByTheLockAlone(t *testing.T) {
	w := newWorld(t)
	w.state(func(dir *os.File) {
		l, err := lock.TryAcquire(dir, w.inst.LockName())
		require.NoError(t, err)
		defer l.Close()
		_, err = w.starter("ready").Start(t.Context())
		require.ErrorIs(t, err, ErrHeld)
	})
	require.Empty(t, w.daemons())
	require.False(t, w.guarded(), "the guard was given back")
}

// TestLockFileRemoved: the guard keeps a second daemon away while the first one lives.
func TestLockFileRemoved(t *testing.T) {
	w := newWorld(t)
	w.must("ready")
	for _, lose := range []func() error{
		func() error { return os.Remove(w.inst.LockPath()) },
		func() error { return os.WriteFile(w.inst.LockPath(), nil, 0o600) },
		func() error { return os.RemoveAll(w.inst.Dir()) },
	} {
		require.NoError(t, lose())
		_, err := w.starter("ready").Start(t.Context())
		require.ErrorIs(t, err, ErrHeld)
	}
	d := w.daemon()
	w.end(d.Pid)
	w.free()
	w.must("ready")
	require.Len(t, w.daemons(), 2)
}

// TestOnlyOneOfManyStarts: all at once, and each is told either "ready" or "held".
func TestOnlyOneOfManyStarts(t *testing.T) {
	w := newWorld(t)
	const clients = 40
	var wg sync.WaitGroup
	errs := make([]error, clients)
	for n := range clients {
		wg.Go(func() {
			c, err := w.starter("ready").Start(t.Context())
			if err == nil {
				c.Close()
			}
			errs[n] = err
		})
	}
	wg.Wait()
	won := slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, ErrHeld) })
	require.Equal(t, []error{nil}, won)
	require.Len(t, w.daemons(), 1)
}

func TestProgressIsPassedOn(t *testing.T) {
	w := newWorld(t)
	s := w.starter("progress")
	var stages []string
	s.Progress = func(stage string) { stages = append(stages, stage) }
	c, err := s.Start(t.Context())
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, []string{"one", "two", "three"}, stages)
}

// TestNoDirectoryNoAttempt: where there is no place for the lock, nothing is started or recorded.
func TestNoDirectoryNoAttempt(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.WriteFile(w.inst.State, nil, 0o600))
	_, err := w.starter("ready").Start(t.Context())
	var kerr *instance.KindError
	require.ErrorAs(t, err, &kerr)
	require.NoError(t, os.Remove(w.inst.State))
	require.NoError(t, os.Mkdir(w.inst.State, 0o755))
	_, err = w.starter("ready").Start(t.Context())
	var merr *instance.ModeError
	require.ErrorAs(t, err, &merr)
	require.NoError(t, os.Chmod(w.inst.State, 0o700))
	require.NoError(t, os.Symlink("x", w.inst.LockPath()))
	_, err = w.starter("ready").Start(t.Context())
	require.ErrorContains(t, err, "it is a symlink")
	require.Empty(t, w.daemons())
}

// TestLargeLogIsPutAside, once, and never grows without end.
func TestLargeLogIsPutAside(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.inst.Dir(), 0o700))
	log := w.inst.Path(instance.DaemonLog)
	require.NoError(t, os.WriteFile(log, []byte(strings.Repeat("x", maxLog+1)), 0o600))
	require.NoError(t, os.WriteFile(log+".1", []byte("older"), 0o600))
	w.must("ready")
	fi, err := os.Stat(log + ".1")
	require.NoError(t, err)
	require.Equal(t, int64(maxLog+1), fi.Size())
	fi, err = os.Stat(log)
	require.NoError(t, err)
	require.LessOrEqual(t, fi.Size(), int64(maxLog))
}

// TestDeadlineLeavesTheDaemonAlone: its lock tells the next client, and nothing is recorded against it.
func TestDeadlineLeavesTheDaemonAlone(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(w.daemons()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	c, err := w.starter("silent").Start(ctx)
	require.Nil(t, c)
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "timeout", f.Code)
	pid := w.daemon().Pid
	require.ErrorContains(t, err, fmt.Sprintf("start the daemon: wait for ready: hobd (pid %d) is still starting", pid))
	require.NoError(t, unix.Kill(pid, 0), "it lives")
	require.True(t, w.held())
	require.Equal(t, lock.Spawning, w.record().Phase)
	require.Empty(t, w.record().Failures)
	_, err = w.starter("ready").Start(t.Context())
	require.ErrorIs(t, err, ErrHeld)
}

func TestEndedContextStartsNothing(t *testing.T) {
	w := newWorld(t)
	w.fail("exit") // so that the next attempt has to pause
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.starter("ready").Start(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, w.daemons(), 1)
	require.NoFileExists(t, filepath.Join(w.inst.Dir(), instance.SocketName))
}
