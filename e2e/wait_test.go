//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// touch makes a file in the project, which a service waits for.
func (w *world) touch(name string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.project, name), nil, 0o600))
}

// TestRunWaitShowsOutputAsItComes: while the service runs, and all of it; nothing else is on
// stdout, nothing at all on stderr.
func TestRunWaitShowsOutputAsItComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("run", "--wait", "job", "--", "sh", "-c", `echo one; until [ -e go ]; do sleep 0.02; done; seq 100000; exit 3`)
	f.until(`^one$`)
	w.touch("go")
	require.Equal(t, 3, f.wait())
	for i, line := range f.lines()[1:] {
		require.Equal(t, strconv.Itoa(i+1), line, "line %d", i+1)
	}
	require.True(t, strings.HasSuffix(f.text(), "\n100000\n"), "the last line is missing")
	require.Empty(t, f.stderr.String())
	// This run's only: an earlier one under that name has its lines in the same log.
	f = w.follow("run", "--wait", "job", "--", "echo", "again")
	require.Zero(t, f.wait())
	require.Equal(t, "again\n", f.text())
}

// TestLastWordsThatNobodySaw: a run that writes and ends while there is no hobd has them before its end.
func TestLastWordsThatNobodySaw(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 8 {
		w.ok("run", "job", "--restart", "no", "--", "sh", "-c", "until [ -e go ]; do sleep 0.02; done; seq 30000; echo the result")
		pid, job := w.pid(), w.list()["job"].Pid
		sentry := w.onGuard(1)
		w.stop(sentry)
		w.kill(pid, syscall.SIGKILL)
		w.touch("go")
		w.eventually("it has ended", func() bool { return !running(job) })
		w.kill(sentry, syscall.SIGCONT)
		w.back(pid)
		w.ok("wait", "job", "--for", "log:^the result$")
		require.NoError(t, os.Remove(filepath.Join(w.project, "go")))
	}
}

// TestRunWaitPassesCtrlCOn: the first one to the service, which may do what it likes with it.
func TestRunWaitPassesCtrlCOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("run", "--wait", "job", "--", "sh", "-c", `trap "echo interrupted; exit 5" INT; echo up; while :; do sleep 0.02; done`)
	f.until(`^up$`)
	f.signal(syscall.SIGINT)
	require.Equal(t, 5, f.wait(), f.stderr.String())
	require.Equal(t, "up\ninterrupted\n", f.text())

	f = w.follow("run", "--wait", "plain", "--", "sh", "-c", `echo up; exec sleep 1000`)
	f.until(`^up$`)
	f.signal(syscall.SIGINT)
	require.Equal(t, 128+int(syscall.SIGINT), f.wait())
}

// TestRunWaitCtrlCTwiceStopsTheTree: also one that does not care about the first.
func TestRunWaitCtrlCTwiceStopsTheTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("run", "--wait", "job", "--", "sh", "-c", `trap "echo no" INT; (trap "" INT; exec setsid sleep 1000) & echo up; while :; do sleep 0.02; done`)
	f.until(`^up$`)
	f.signal(syscall.SIGINT)
	f.until(`^no$`)
	require.NotEmpty(t, w.marked("job"))
	f.signal(syscall.SIGINT)
	require.Equal(t, 128+int(syscall.SIGTERM), f.wait(), f.stderr.String())
	require.Empty(t, w.marked("job"))
	require.Equal(t, "stopped", w.doc(0, "ps", "job").Service.State)
}

// TestRunWaitTermStopsTheTree: whoever ends hob ends what it waits for.
func TestRunWaitTermStopsTheTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("run", "--wait", "job", "--", "sh", "-c", `sleep 1000 & echo up; wait`)
	f.until(`^up$`)
	f.signal(syscall.SIGTERM)
	require.Equal(t, 128+int(syscall.SIGTERM), f.wait(), f.stderr.String())
	require.Empty(t, w.marked("job"))
}

// TestRunWaitKilledLeavesTheService: SIGKILL of hob is no request.
func TestRunWaitKilledLeavesTheService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("run", "--wait", "job", "--", "sh", "-c", `echo up; exec sleep 1000`)
	f.until(`^up$`)
	f.signal(syscall.SIGKILL)
	f.wait()
	require.Equal(t, "running", w.doc(0, "wait", "job").Service.State)
}

// replaceDaemon is daemon restart.
func (w *world) replaceDaemon() {
	before := w.pid()
	w.ok("daemon", "restart", next)
	require.NotEqual(w.t, before, w.pid())
}

// TestDaemonRestartReturnsWhileSomebodyWaits: whoever waits for a service starts the next daemon
// as soon as the last one leaves, and that is not the one to wait for.
func TestDaemonRestartReturnsWhileSomebodyWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("run", "--wait", "job", "--", "sh", "-c", `echo up; exec sleep 1000`)
	f.until(`^up$`)
	for _, args := range [][]string{{"daemon", "restart"}, {"daemon", "restart", "--force"}} {
		before := w.pid()
		w.ok(append(args, next)...)
		require.NotEqual(t, before, w.pid())
		require.Equal(t, "running", w.doc(0, "wait", "job").Service.State)
	}
	w.ok("stop", "job")
	require.Equal(t, 128+int(syscall.SIGTERM), f.wait())
}

// TestRunWaitOutlivesTheDaemon: hobd is killed, or replaced, again and again; the output goes on
// without a gap, Ctrl-C still reaches the service, and its exit code comes back.
func TestRunWaitOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(w *world){
		"SIGKILL":        func(w *world) { w.kill(w.pid(), syscall.SIGKILL) },
		"daemon restart": (*world).replaceDaemon,
		"SIGKILL and another client": func(w *world) {
			w.kill(w.pid(), syscall.SIGKILL)
			w.ok("ps")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.follow("run", "--wait", "job", "--", "sh", "-c", `trap "exit 7" INT; `+counting)
			f.more()
			pid := w.doc(0, "ps", "job").Service.Pid
			for range 3 {
				before := w.pid()
				leave(w)
				w.eventually("there is another daemon", func() bool { p := w.pid(); return p != 0 && p != before && w.hob("daemon", "ping").code == 0 })
				f.more()
			}
			now := w.doc(0, "ps", "job").Service
			require.Equal(t, pid, now.Pid)
			require.Positive(t, now.Adopted)
			f.signal(syscall.SIGINT)
			code := f.wait()
			require.Equal(t, 1, requireCounted(t, f.lines()))
			skipUnlessKernelTells(t)
			require.Equal(t, 7, code, f.stderr.String())
			require.Empty(t, f.stderr.String())
		})
	}
}

// TestRunWaitWhenSomebodyElseStops: stop, daemon stop and down end the wait, too, with the code
// of the service, and start nothing anew.
func TestRunWaitWhenSomebodyElseStops(t *testing.T) {
	t.Parallel()
	for _, stop := range []string{"stop job", "daemon stop", "down", "restart job", "run --replace job -- sleep 1000"} {
		t.Run(stop, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.follow("run", "--wait", "job", "--", "sh", "-c", `echo up; exec sleep 1000`)
			f.until(`^up$`)
			w.eventually("its end is waited for", func() bool { return w.doc(0, "daemon", "status").Daemon.Connections >= 2 })
			w.ok(strings.Fields(stop)...)
			require.Equal(t, 128+int(syscall.SIGTERM), f.wait(), f.stderr.String())
			require.Equal(t, "up\n", f.text())
			require.EqualValues(t, 1, w.attempts())
		})
	}
}

// TestWaitOutlivesTheDaemon: the same for wait, whatever it waits for.
func TestWaitOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(w *world){
		"SIGKILL":        func(w *world) { w.kill(w.pid(), syscall.SIGKILL); w.ok("daemon", "start") },
		"daemon restart": (*world).replaceDaemon,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("run", "job", "--", "sh", "-c", `until [ -e say ]; do sleep 0.02; done; echo said; until [ -e go ]; do sleep 0.02; done; exit 7`)
			exit, log := w.follow("wait", "job", "--for", "exit"), w.follow("wait", "job", "--for", "log:^said$")
			w.eventually("both are connected", func() bool { return w.doc(0, "daemon", "status").Daemon.Connections >= 3 })
			leave(w)
			w.touch("say")
			require.Zero(t, log.wait(), log.stderr.String())
			w.touch("go")
			code := exit.wait()
			skipUnlessKernelTells(t)
			require.Equal(t, 7, code, exit.stderr.String())
		})
	}
}
