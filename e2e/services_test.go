//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/process"
)

// running reports whether there is a process of that pid, and not only what is left of one.
func running(pid int) bool {
	info, err := process.Stat(pid)
	return err == nil && !info.Dead()
}

// TestStartAndRestartEnvironment: restart takes the caller's environment, start the one that the
// service had, and so does a start by the next daemon.
func TestStartAndRestartEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set := func(value string) { w.env = []string{"FLAVOUR=" + value} }
	has := func(value string) {
		t.Helper()
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.doc(0, "ps", "web").Service.Pid))
		require.NoError(t, err)
		require.Contains(t, string(data), "\x00FLAVOUR="+value+"\x00")
	}
	set("one")
	w.ok("run", "web", "--", "sleep", "1000")
	set("two")
	w.ok("stop", "web")
	w.ok("start", "web")
	has("one")
	require.Equal(t, []string{"FLAVOUR"}, w.doc(0, "ps", "web").Service.EnvDrift)
	w.ok("restart", "web")
	has("two")
	require.Empty(t, w.doc(0, "ps", "web").Service.EnvDrift)
	set("three")
	w.ok("daemon", "stop")
	w.ok("start", "web")
	has("two")
}

// TestDaemonRestartKeepsServices: another hobd, the same processes; what ends afterwards has its
// exit code.
func TestDaemonRestartKeepsServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	w.ok("run", "job", "--", "sh", "-c", "until [ -e go ]; do sleep 0.02; done; exit 7")
	w.ok("run", "off", "--", "sleep", "1000")
	w.ok("stop", "off")
	pid, web, job := w.pid(), w.doc(0, "ps", "web").Service, w.doc(0, "ps", "job").Service
	w.ok("daemon", "restart")
	require.NotEqual(t, pid, w.pid())
	now := w.doc(0, "ps", "web").Service
	require.Equal(t, []any{web.Pid, "running", 1, web.StartedAt, web.Generation}, []any{now.Pid, now.State, now.Adopted, now.StartedAt, now.Generation})
	require.Equal(t, job.Pid, w.doc(0, "ps", "job").Service.Pid)
	require.Equal(t, "stopped", w.doc(0, "ps", "off").Service.State)
	require.Len(t, w.marked("web"), 1)
	w.requireExitKnown(7)
}

// requireExitKnown lets job end, which a daemon before this one started, and wants its code.
func (w *world) requireExitKnown(code int) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.project, "go"), nil, 0o600))
	r := w.hob("wait", "job", "--for", "exit", "--json")
	var d api.Document
	require.NoError(w.t, json.Unmarshal([]byte(r.stdout), &d))
	skipUnlessKernelTells(w.t)
	require.Equal(w.t, code, d.Service.Exit.Code)
	require.Equal(w.t, code, r.code)
}

// skipUnlessKernelTells: before Linux 6.15 it does not say how a process ended that is nobody's
// child here (PIDFD_GET_INFO, pidfd_info of linux/pidfd.h).
func skipUnlessKernelTells(t *testing.T) {
	t.Helper()
	var name unix.Utsname
	require.NoError(t, unix.Uname(&name))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	require.NoError(t, err)
	if major < 6 || major == 6 && minor < 15 {
		t.Skip("this kernel does not tell how an adopted process ended")
	}
}

// TestDaemonStopStopsServices: and the next start leaves them stopped.
func TestDaemonStopStopsServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	w.ok("run", "api", "--", "sleep", "1000")
	pids := []int{w.doc(0, "ps", "web").Service.Pid, w.doc(0, "ps", "api").Service.Pid}
	w.ok("daemon", "stop")
	for _, pid := range pids {
		require.False(t, running(pid))
	}
	w.ok("daemon", "start")
	for _, s := range w.doc(0, "ps").Services {
		require.Equal(t, []string{"stopped", "down"}, []string{s.State, s.Want}, s.Name)
	}
	w.ok("start", "web")
	require.Equal(t, 2, w.doc(0, "ps", "web").Service.Generation)
}

// TestExitCodeAfterKilledDaemon: hobd was killed with SIGKILL; a service that ends under the next
// one has its exit code, by exit and by a signal.
func TestExitCodeAfterKilledDaemon(t *testing.T) {
	t.Parallel()
	for want, end := range map[int]string{7: "exit 7", 137: "kill -KILL $$", 0: "exit 0"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("run", "job", "--", "sh", "-c", "until [ -e go ]; do sleep 0.02; done; "+end)
			w.kill(w.pid(), syscall.SIGKILL)
			// It lives until it was adopted, of which ps waits for the end.
			require.Equal(t, 1, w.doc(0, "ps", "job").Service.Adopted)
			w.requireExitKnown(want)
		})
	}
}

// TestManyServicesAtOnce: 30 clients start 30 services, and one down ends them all.
func TestManyServicesAtOnce(t *testing.T) {
	t.Parallel()
	const n = 30
	w := newWorld(t)
	for i, r := range w.atOnce(n, func(i int) *exec.Cmd { return w.command("run", fmt.Sprintf("s%02d", i), "--", "sleep", "1000") }) {
		require.Zero(t, r.code, "service %d: %s%s", i, r.stdout, r.stderr)
	}
	services := w.doc(0, "ps").Services
	require.Len(t, services, n)
	for _, s := range services {
		require.Equal(t, "running", s.State, s.Name)
	}
	require.EqualValues(t, 1, w.attempts())
	w.ok("down")
	for _, s := range services {
		require.False(t, running(s.Pid), s.Name)
	}
	for _, dir := range []string{"fifo", "svc", "state"} {
		left, err := filepath.Glob(w.inst().Path(dir, "s*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// TestRestartsLeakNothing: 50 restarts later the daemon has as many descriptors, FIFOs, children
// and goroutines as after a few.
func TestRestartsLeakNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--no-wait", "--", "sh", "-c", "sleep 1000 & exec sleep 1000")
	restart := func(n int) {
		for range n {
			w.ok("run", "web", "--replace", "--no-wait", "--", "sh", "-c", "sleep 1000 & exec sleep 1000")
		}
	}
	restart(5)
	w.onGuard(1) // it has a sentry and what belongs to that
	before := w.possessions()
	restart(50)
	require.Equal(t, 56, w.doc(0, "ps", "web").Service.Generation)
	w.eventually("it has as much as before", func() bool {
		now := w.possessions()
		for what, n := range before {
			if now[what] > n {
				return false
			}
		}
		return true
	})
	after := w.goroutines()
	fresh := newWorld(t)
	fresh.ok("run", "web", "--no-wait", "--", "sh", "-c", "sleep 1000 & exec sleep 1000")
	fresh.ok("ps")
	require.LessOrEqual(t, after, fresh.goroutines()+5)
}

// possessions counts what the daemon has.
func (w *world) possessions() map[string]int {
	w.t.Helper()
	fifos, err := os.ReadDir(w.inst().Path("fifo"))
	require.NoError(w.t, err)
	n := map[string]int{"descriptors": len(descriptors(w.t, w.pid())), "fifos": len(fifos)}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", w.pid()))
	require.NoError(w.t, err)
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		n["children"] += len(bytes.Fields(data))
	}
	return n
}

// goroutines ends the daemon with SIGQUIT and counts what it dumps.
func (w *world) goroutines() int {
	w.t.Helper()
	pid := w.pid()
	w.kill(pid, syscall.SIGQUIT)
	w.eventually("it is gone", func() bool { return !running(pid) }) // its sentry starts another one
	n := strings.Count(w.daemonLog(), "\ngoroutine ")
	require.Positive(w.t, n)
	return n
}
