//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/lock"
)

// snapshot lists everything in the world's home and project.
func (w *world) snapshot() []string {
	w.t.Helper()
	names := []string{}
	for _, root := range []string{w.home, w.project} {
		require.NoError(w.t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			names = append(names, path)
			return err
		}))
	}
	return names
}

// TestLookingStartsAndCreatesNothing: status, ping, stop, logs, list and a ps with nothing to
// recover, in an empty home.
func TestLookingStartsAndCreatesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.snapshot()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"daemon", "status"}, 3}, {[]string{"daemon", "ping"}, 3}, {[]string{"daemon", "stop"}, 0},
		{[]string{"logs"}, 0}, {[]string{"logs", "web"}, 4}, {[]string{"list"}, 0}, {[]string{"ls"}, 0}, {[]string{"ps"}, 0},
		{[]string{"status"}, 0}, {nil, 0}, {[]string{"ps", "web"}, 4}, {[]string{"down"}, 0}, {[]string{"doctor"}, 0},
		{[]string{"prune"}, 0}, {[]string{"version"}, 0}, {[]string{"completion", "bash"}, 0}, {[]string{"help"}, 0},
		{[]string{"stop", "web"}, 4}, {[]string{"daemon", "log"}, 0},
	} {
		for _, more := range [][]string{nil, {"--json"}} {
			r := w.hob(append(append([]string{}, c.args...), more...)...)
			if c.code == 0 && len(c.args) > 0 && c.args[0] == "doctor" {
				continue // what it finds is not the point here
			}
			require.Equal(t, c.code, r.code, "hob %v %v: %s%s", c.args, more, r.stdout, r.stderr)
		}
	}
	require.Equal(t, before, w.snapshot())
}

// TestPsOfStoppedServicesStartsNothing: what is on disk and down is shown without a daemon.
func TestPsOfStoppedServicesStartsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	w.ok("daemon", "stop")
	require.Equal(t, "stopped", w.doc(0, "ps").Services[0].State)
	require.Zero(t, w.pid())
	require.EqualValues(t, 1, w.attempts())
}

// TestInstanceDirectoryRemoved: rm -rf under a live daemon heals: the same daemon, the same
// service, and its next lines in a new log.
func TestInstanceDirectoryRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trace := filepath.Join(w.home, "trace")
	w.env = []string{"HOB_FAULT_LOG=" + trace}
	tick := filepath.Join(w.home, "tick")
	w.ok("run", "web", "--", "sh", "-c", `echo before; until [ -e "`+tick+`" ]; do sleep 0.05; done; echo after; exec sleep 1000`)
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	removeAll(t, w.inst().Dir())
	w.eventually("the daemon is back in its place", func() bool {
		return w.hob("daemon", "ping", "--no-spawn", next).code == 0 && w.pid() == pid
	})
	require.EqualValues(t, 1, w.attempts())
	now := w.doc(0, "ps", "web").Service
	require.Equal(t, service, now.Pid)
	require.NoError(t, os.WriteFile(tick, nil, 0o600))
	w.eventually("the service's next line is in the log", func() bool { return strings.Contains(w.hob("logs", "web").stdout, "after") })
	w.ok("restart", "web")
	w.ok("stop", "web")
	passed, err := os.ReadFile(trace)
	require.NoError(t, err)
	require.Contains(t, string(passed), "daemon.republished")
}

// removeAll removes a directory in which somebody may still write.
func removeAll(t *testing.T, dir string) {
	t.Helper()
	require.Eventually(t, func() bool { return os.RemoveAll(dir) == nil }, patience, 1000)
}

// TestSocketRemoved: the name alone is removed; it comes back, and meanwhile no second daemon is
// started.
func TestSocketRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	pid := w.pid()
	for range 20 {
		require.NoError(t, os.Remove(w.inst().Path(instance.SocketName)))
		w.ok("daemon", "ping", next)
		require.Equal(t, pid, w.pid())
	}
	require.EqualValues(t, 1, w.attempts())
}

// TestPidFileRemoved: it is back, and nothing else has changed: whoever connects meanwhile is served by the same socket.
func TestPidFileRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	pid := w.pid()
	socket, err := os.Lstat(w.inst().Path(instance.SocketName))
	require.NoError(t, err)
	for n := range 3 {
		require.NoError(t, os.Remove(w.inst().Path(instance.PidName)))
		w.eventually("it is back", func() bool { return w.pid() == pid && strings.Count(w.daemonLog(), "are back") == n+1 })
	}
	w.ok("daemon", "ping", next)
	now, err := os.Lstat(w.inst().Path(instance.SocketName))
	require.NoError(t, err)
	require.True(t, os.SameFile(socket, now), w.daemonLog())
	require.Equal(t, 3, strings.Count(w.daemonLog(), "are back"))
}

// TestInstanceDirectoryMoved: what is there under another name is of no use.
func TestInstanceDirectoryMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid := w.pid()
	for i := range 3 {
		require.NoError(t, os.Rename(w.inst().Dir(), filepath.Join(w.home, fmt.Sprint("moved", i))))
		w.ok("daemon", "ping", unhurried)
		require.Equal(t, pid, w.pid())
	}
	w.ok("stop", "web")
}

// TestLockFileRemoved: clients come while somebody removes the lock file. There is at most one
// serving daemon: the guard, which nobody can delete, keeps a second one from starting.
func TestLockFileRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid := w.pid()
	for range 20 {
		require.NoError(t, os.Remove(w.inst().LockPath()))
		for i, r := range w.atOnce(10, func(int) *exec.Cmd { return w.command("daemon", "start", unhurried) }) {
			require.Zero(t, r.code, "client %d: %s%s\nlog: %s", i, r.stdout, r.stderr, w.daemonLog())
		}
		require.Equal(t, pid, w.pid(), "log: %s", w.daemonLog())
		w.lockedOnlyBy(pid)
	}
	require.Equal(t, 1, w.starts())
	had := len(w.settledDescriptors(pid))
	for range 20 {
		require.NoError(t, os.Remove(w.inst().LockPath()))
		w.ok("daemon", "start", unhurried)
	}
	require.LessOrEqual(t, len(w.settledDescriptors(pid)), had)
}

// TestWholeStateRemoved: even the state directory is removed under the daemon.
func TestWholeStateRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	removeAll(t, w.stateDir())
	w.eventually("the daemon is back in its place", func() bool { return w.hob("daemon", "ping", "--no-spawn", next).code == 0 })
	require.Equal(t, pid, w.pid())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
}

// TestWholeStateMoved: the daemon goes where its clients go, and nobody else is one where it was. When the directory comes back, it is back there, too.
func TestWholeStateMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	state, home := w.stateDir(), filepath.Dir(w.stateDir())
	there := func(what string) {
		t.Helper()
		w.eventually(what, func() bool { return w.hob("daemon", "ping", "--no-spawn", next).code == 0 })
		require.Equal(t, pid, w.pid(), w.daemonLog())
		require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
		w.lockedOnlyBy(pid)
		dir, err := os.Open(state)
		require.NoError(t, err)
		defer dir.Close()
		key, err := w.inst().Key(dir)
		require.NoError(t, err)
		w.eventually("it has the guard there", func() bool { who, _, held := lock.LookGuard(key); return held && who == pid })
	}
	for n := range 3 {
		first, second := filepath.Join(home, fmt.Sprint("first", n)), filepath.Join(home, fmt.Sprint("second", n))
		require.NoError(t, os.Rename(state, first))
		there("moved away")
		if n > 0 { // all that it has is passed on
			w.ok("daemon", "upgrade")
		}
		cmd := w.command("daemon", "start", "--timeout=1s")
		cmd.Env = append(cmd.Env, "HOB_STATE_DIR="+first)
		r := w.run(cmd)
		require.NotZero(t, r.code, r.stdout)
		require.Contains(t, r.stderr, fmt.Sprint(pid), "who has what was moved")
		// In one step: else there may be another one in between.
		require.NoError(t, unix.Renameat2(unix.AT_FDCWD, first, unix.AT_FDCWD, state, unix.RENAME_EXCHANGE))
		require.NoError(t, os.Rename(first, second))
		there("moved back")
		removeAll(t, second)
	}
	require.NoError(t, os.Rename(home, home+".moved"))
	there("what is above it moved away")
	w.ok("stop", "web")
}

// TestStateMovedForAMoment: it is away and back again before or while the daemon looks. That is nobody else's doing, and no reason to leave.
func TestStateMovedForAMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	state := w.stateDir()
	for n := range 300 {
		require.NoError(t, os.Rename(state, state+".away"))
		for range n % 50 * 20 { // a little longer each time
			runtime.Gosched()
		}
		if os.Rename(state+".away", state) != nil { // the daemon has made another one meanwhile
			require.NoError(t, unix.Renameat2(unix.AT_FDCWD, state+".away", unix.AT_FDCWD, state, unix.RENAME_EXCHANGE))
			removeAll(t, state+".away")
		}
	}
	w.eventually("the daemon is back in its place", func() bool { return w.hob("daemon", "ping", "--no-spawn", next).code == 0 })
	require.Equal(t, pid, w.pid(), w.daemonLog())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
	require.NotContains(t, w.daemonLog(), "another daemon")
}

// TestStalePidFileIsNeverBelieved: the pid file names a stranger that lives. It is not
// signalled, whatever is asked, and not taken for a daemon.
func TestStalePidFileIsNeverBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := exec.Command("sleep", "1000")
	require.NoError(t, stranger.Start())
	exited := make(chan error, 1)
	go func() { exited <- stranger.Wait() }()
	t.Cleanup(func() { _ = stranger.Process.Kill(); <-exited })
	pidFile := fmt.Sprintln(stranger.Process.Pid)
	w.ok("daemon", "start")
	w.ok("daemon", "stop")
	w.file(pidFile, instance.PidName)
	require.Equal(t, "stale", w.doc(3, "daemon", "status").Daemon.State)
	w.ok("daemon", "stop")
	w.ok("daemon", "restart", "--force")
	require.NotEqual(t, stranger.Process.Pid, w.pid())
	w.file(pidFile, instance.PidName)
	w.ok("daemon", "restart", "--force")
	w.ok("down")
	select {
	case <-exited:
		t.Fatal("the stranger was signalled")
	default:
	}
}

// TestPidFile: exactly the decimal pid and a newline, mode 0600, good for xargs kill.
func TestPidFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	path := w.inst().Path(instance.PidName)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(openers(w.inst().LockPath())[0])+"\n", string(data))
	fi, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), fi.Mode())
	socket, err := os.Lstat(w.inst().Path(instance.SocketName))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), socket.Mode().Perm())
	require.NoError(t, exec.Command("sh", "-c", "cat "+path+" | xargs kill").Run())
	w.eventually("TERM stops it", func() bool { return len(openers(w.inst().LockPath())) == 0 })
	require.NoFileExists(t, path)
	require.NoFileExists(t, w.inst().Path(instance.SocketName))
	require.FileExists(t, w.inst().LockPath())
}

// TestTermStopsServices: SIGTERM stops cleanly, with whole trees.
func TestTermStopsServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", "sleep 1000 & sleep 1000")
	w.kill(w.pid(), syscall.SIGTERM)
	w.eventually("it is gone", func() bool { return len(openers(w.inst().LockPath())) == 0 })
	require.Empty(t, w.marked("web"))
	require.Equal(t, "stopped", w.doc(0, "ps", "web").Service.State)
	w.ok("daemon", "start")
	require.Equal(t, "stopped", w.doc(0, "ps", "web").Service.State, "nothing restarts at the next start")
}

// TestGarbageInPlaceOfOurFiles: junk, an empty file, a directory, a symlink or a FIFO where a
// file of ours belongs. hob starts, or says what is in the way; it never hangs, and what a symlink
// points to is not touched.
func TestGarbageInPlaceOfOurFiles(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(t *testing.T, path string){
		"empty":     func(t *testing.T, p string) { require.NoError(t, os.WriteFile(p, nil, 0o600)) },
		"junk":      func(t *testing.T, p string) { require.NoError(t, os.WriteFile(p, []byte("\x00\xff{junk"), 0o600)) },
		"megabyte":  func(t *testing.T, p string) { require.NoError(t, os.WriteFile(p, make([]byte, 1<<20), 0o600)) },
		"directory": func(t *testing.T, p string) { require.NoError(t, os.Mkdir(p, 0o700)) },
		"symlink":   func(t *testing.T, p string) { require.NoError(t, os.Symlink(p+".target", p)) },
		"fifo":      func(t *testing.T, p string) { require.NoError(t, syscall.Mkfifo(p, 0o600)) },
	}
	mayFail := map[string]bool{ // what can't be replaced, or must not be
		"directory": true, "lock symlink": true, "lock fifo": true, "hobd.log symlink": true, "hobd.log fifo": true,
		"state symlink": true, "log symlink": true, "state empty": true,
	}
	for _, name := range []string{"lock", "hob.sock", "hob.pid", "meta.json", "hobd.log", "state", "log", "fifo", "svc", "env", "state/web.json"} {
		for kind, put := range kinds {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				path := w.inst().Path(name)
				require.NoError(t, os.MkdirAll(w.inst().Dir(), 0o700))
				if name == "lock" {
					path = w.inst().LockPath()
				}
				if name == "state/web.json" {
					require.NoError(t, os.Mkdir(w.inst().Path("state"), 0o700))
				}
				put(t, path)
				r := w.hob("daemon", "start", next)
				dirInPlace := kind != "directory" && (name == "state" || name == "log" || name == "fifo" || name == "svc" || name == "env")
				if r.code != 0 {
					require.True(t, dirInPlace || mayFail[kind] || mayFail[name+" "+kind], "%s in place of %s: %s", kind, name, r.stderr)
					require.Contains(t, r.stderr, filepath.Base(path), "the error names it")
				}
				require.NoFileExists(t, path+".target")
				w.hob("daemon", "stop", next)
				if dirInPlace || r.code != 0 {
					return
				}
				w.ok("run", "web", "--", "sleep", "1000")
				w.ok("down")
			})
		}
	}
}

// TestHalfMadeSocketsAreSwept: a hobd that is killed before a socket for a service has its name leaves nothing for ever.
func TestHalfMadeSocketsAreSwept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	w.ok("daemon", "stop")
	for _, dir := range []string{"notify", "sock"} {
		for _, name := range []string{".123.new-web", ".web.7b.1", "web.new-1-2"} { // the last is a service's
			require.NoError(t, os.WriteFile(w.inst().Path(dir, name), nil, 0o600))
		}
	}
	w.ok("daemon", "start")
	for _, dir := range []string{"notify", "sock"} {
		entries, err := os.ReadDir(w.inst().Path(dir))
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, "web.new-1-2", entries[0].Name())
	}
}
