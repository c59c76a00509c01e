//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// TestBrokenDaemon: a daemon that can't start. Every one of 50 waiting clients shows the reason,
// and there are at most two attempts; after three, none is made for a while, and the error says so.
func TestBrokenDaemon(t *testing.T) {
	const clients = 50
	cases := []struct {
		name   string
		broken func(w *world)
		reason string
	}{
		{"exits", func(w *world) { w.script("echo no such luck >&2; exit 3") }, "exit status 3 before it was ready: no such luck"},
		{"says nothing", func(w *world) { w.script("exit 0") }, "exit status 0 before it was ready"},
		{"panics", func(w *world) { w.env = []string{"HOB_FAULT=daemon.start=panic"} }, "panic: fault point daemon.start"},
		{"prints nonsense", func(w *world) { w.env = []string{"HOB_FAULT=daemon.start=garbage"} }, "instead of ready"},
		{"prints nonsense for ever", func(w *world) { w.script("echo nonsense >&3; exec 3>&- 4>&- 5>&-; exec sleep 5") }, `"nonsense" instead of ready`},
		{"is no program", func(w *world) {
			path := filepath.Join(w.home, "hobd")
			require.NoError(w.t, writeProgram(path, []byte("\x7fnot an executable")))
			w.env = []string{"HOB_DAEMON=" + path}
		}, "exec format error"},
		{"can't write its pid file", func(w *world) { require.NoError(w.t, os.MkdirAll(w.inst().Path("hob.pid"), 0o700)) }, "hob.pid"},
		{"can't publish its socket", func(w *world) { require.NoError(w.t, os.MkdirAll(w.inst().Path("hob.sock"), 0o700)) }, "hob.sock"},
		{"can't open its log", func(w *world) { require.NoError(w.t, os.MkdirAll(w.inst().Path("hobd.log"), 0o700)) }, "hobd.log"},
		{"can't load its state", func(w *world) { w.file("", "state") }, "state"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			require.NoError(t, os.MkdirAll(w.inst().Dir(), 0o700))
			c.broken(w)
			for i, r := range w.atOnceForTheLock(clients, func(int) *exec.Cmd { return w.command("daemon", "start", "--json", unhurried) }) {
				require.Equal(t, 1, r.code, "client %d: %s%s", i, r.stdout, r.stderr)
				var d api.ErrorDocument
				require.NoError(t, json.Unmarshal([]byte(r.stdout), &d))
				require.Equal(t, "start_failed", d.Error.Code, d.Error.Message)
				require.Contains(t, d.Error.Message, c.reason)
			}
			require.LessOrEqual(t, w.attempts(), int64(2))
			for w.attempts() < 3 {
				w.failure(1, "daemon", "start")
			}
			e := w.failure(1, "daemon", "start")
			require.EqualValues(t, 3, w.attempts(), "no fourth attempt")
			require.Contains(t, e.Message, "3 attempts failed")
			require.Contains(t, e.Message, c.reason)
			w.lockedBy(0)
		})
	}
}

// atOnceForTheLock is atOnce with the lock held until all have looked for a daemon: none is so late that it comes after another's attempt.
func (w *world) atOnceForTheLock(n int, call func(i int) *exec.Cmd) []result {
	w.t.Helper()
	state, err := w.inst().OpenState(true)
	require.NoError(w.t, err)
	defer state.Close()
	l, err := lock.TryAcquire(state, w.inst().LockName())
	require.NoError(w.t, err)
	defer l.Close()
	trace := filepath.Join(w.home, "trace")
	env := w.env
	w.env = append(slices.Clone(env), "HOB_FAULT_LOG="+trace)
	wait := w.startAtOnce(n, call)
	w.env = env
	w.eventually("all wait for the lock", func() bool {
		text, _ := os.ReadFile(trace)
		looked := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			if pid, ok := strings.CutSuffix(line, " client.connect\n"); ok {
				looked[pid] = true
			}
		}
		return len(looked) == n
	})
	require.NoError(w.t, l.Close())
	return wait()
}

// TestStartThatIsToldToStop is nobody's fault: it is not counted, and the client starts the next one at once.
func TestStartThatIsToldToStop(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"daemon.pidfile", "daemon.bound", "daemon.published"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			once := filepath.Join(w.home, "once")
			w.script(fmt.Sprintf("[ -e %s ] || export HOB_FAULT=%s=stop\ntouch %s\nexec %s/hobd \"$@\"", once, point, once, w.bin))
			start := w.background("daemon", "start")
			w.eventually("it stands still", func() bool {
				info, err := process.Stat(w.pid())
				return err == nil && info.State == 'T'
			})
			was := w.pid()
			w.kill(was, syscall.SIGTERM)
			w.kill(was, syscall.SIGCONT)
			r := <-start
			require.Zero(t, r.code, r.stderr)
			rec, ok := w.record()
			require.True(t, ok)
			require.LessOrEqual(t, rec.Attempt, int64(2)) // 1: it was ready before it was told
			require.Empty(t, rec.Failures)
		})
	}
}

// script makes a shell script the world's hobd.
func (w *world) script(text string) {
	path := filepath.Join(w.home, "hobd")
	require.NoError(w.t, writeProgram(path, []byte("#!/bin/sh\n"+text+"\n")))
	w.env = []string{"HOB_DAEMON=" + path}
}

// file writes a file below the instance directory.
func (w *world) file(text string, name ...string) {
	path := w.inst().Path(name...)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(w.t, os.WriteFile(path, []byte(text), 0o600))
}

// TestMendedDaemonStartsAtOnce: a failure is forgotten with the next success, and one that was
// mended is not held against anybody.
func TestMendedDaemonStartsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("exit 3")
	w.failure(1, "daemon", "start", next)
	w.env = nil
	w.ok("daemon", "start", next)
	w.ok("daemon", "stop")
	w.script("exit 3")
	w.failure(1, "daemon", "start", next)
	w.failure(1, "daemon", "start", next)
	w.env = nil
	w.ok("daemon", "start", next)
}

// TestKilledStartsAreNotCounted: whoever kills daemons makes nobody wait.
func TestKilledStartsAreNotCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = []string{"HOB_FAULT=daemon.loaded=kill"}
	for range 3 {
		e := w.failure(1, "daemon", "start", next)
		require.Contains(t, e.Message, "killed by SIGKILL")
	}
	w.env = nil
	w.ok("daemon", "start", next)
}

// TestMissingDaemonProgram: the error names what was looked for.
func TestMissingDaemonProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = []string{"HOB_DAEMON=" + filepath.Join(w.home, "nothing")}
	e := w.failure(1, "daemon", "start", next)
	require.Contains(t, e.Message, "nothing")
	require.NotEmpty(t, e.Hint)
	require.NoDirExists(t, w.stateDir(), "nothing is created for a program that is not there")
}

// TestStoppedDaemon: a daemon that was stopped by a signal is named with pid, state and the way
// out. There is never a second one, and it is never killed.
func TestStoppedDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	pid := w.pid()
	w.stop(pid)
	e := w.failure(1, "daemon", "start")
	require.Equal(t, "unresponsive", e.Code)
	require.Contains(t, e.Message, "is stopped, state T")
	require.Contains(t, e.Hint, "kill -CONT")
	require.Contains(t, e.Hint, "hob daemon restart --force")
	d := w.doc(1, "daemon", "status").Daemon
	require.Equal(t, "unresponsive", d.State)
	require.Equal(t, pid, d.Pid)
	require.EqualValues(t, 1, w.attempts())
	w.kill(pid, syscall.SIGCONT)
	require.Equal(t, pid, w.doc(0, "daemon", "ping").Daemon.Pid)
}

// stop stops a process, and returns when it has.
func (w *world) stop(pid int) {
	w.t.Helper()
	w.kill(pid, syscall.SIGSTOP)
	w.eventually("it is stopped", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		require.NoError(w.t, err)
		for _, task := range tasks {
			if data, err := os.ReadFile(task); err == nil && !strings.Contains(string(data), ") T ") {
				return false
			}
		}
		return true
	})
}

// TestForcedRestartKeepsServices: the way out that the error names works, and what ran goes on.
func TestForcedRestartKeepsServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	service := w.doc(0, "ps", "web").Service.Pid
	pid := w.pid()
	w.stop(pid)
	w.ok("daemon", "restart", "--force")
	require.NotEqual(t, pid, w.pid())
	now := w.doc(0, "ps", "web").Service
	require.Equal(t, service, now.Pid)
	require.Equal(t, "running", now.State)
}
