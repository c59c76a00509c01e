//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/process"
)

// cgroup is a control group of a test's own, cgroups(7).
type cgroup struct {
	t   *testing.T
	dir string
}

// newCgroup makes one in the hierarchy of a controller of version 1, or of version 2 where the controller is "". It skips the test where that
// can't be had.
func newCgroup(t *testing.T, controller string) *cgroup {
	t.Helper()
	top := hierarchy(t, controller)
	if top == "" {
		t.Skipf("no hierarchy of control groups here for %q", controller)
	}
	dir, err := os.MkdirTemp(top, "hob-test-")
	if err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	g := &cgroup{t: t, dir: dir}
	t.Cleanup(func() {
		for deadline := time.Now().Add(patience); os.Remove(dir) != nil; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s: still in use by %s", dir, g.read("cgroup.procs"))
				return
			}
		}
	})
	return g
}

// hierarchy is where the control groups of a controller are mounted, "" when nowhere; see proc_pid_mountinfo(5).
func hierarchy(t *testing.T, controller string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		where, what, _ := strings.Cut(strings.TrimSpace(line), " - ")
		at, fs := strings.Fields(where), strings.Fields(what)
		if len(at) < 5 || len(fs) < 3 {
			continue
		}
		if controller == "" && fs[0] == "cgroup2" || controller != "" && fs[0] == "cgroup" && slices.Contains(strings.Split(fs[2], ","), controller) {
			return at[4]
		}
	}
	return ""
}

func (g *cgroup) read(name string) string {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	require.NoError(g.t, err)
	return strings.TrimSpace(string(text))
}

// set writes a value; it skips the test where the kernel does not know that file.
func (g *cgroup) set(name, value string) {
	g.t.Helper()
	err := os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0o644)
	if os.IsNotExist(err) || os.IsPermission(err) {
		g.t.Skipf("%s: %v", name, err)
	}
	require.NoError(g.t, err)
}

// take moves a process here.
func (g *cgroup) take(pid int) {
	g.t.Helper()
	require.Greater(g.t, pid, 0, "0 is who writes it, cgroups(7)")
	g.set("cgroup.procs", strconv.Itoa(pid))
}

// TestFrozenDaemon: hobd stands still in a frozen control group, where in version 1 not even SIGKILL ends it. That is said, nothing is started beside it, and in
// the end there is one hobd and the same service.
func TestFrozenDaemon(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		controller, file, on, off string
		mortal                    bool
	}{
		"version 1": {controller: "freezer", file: "freezer.state", on: "FROZEN", off: "THAWED"},
		"version 2": {file: "cgroup.freeze", on: "1", off: "0", mortal: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newCgroup(t, c.controller)
			w := newWorld(t)
			w.ok("run", "web", "--", "sleep", "1000")
			pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
			g.take(pid)
			g.set(c.file, c.on)
			t.Cleanup(func() { g.set(c.file, c.off) })
			e := w.failure(1, "daemon", "start", next)
			require.Equal(t, "unresponsive", e.Code)
			require.Contains(t, e.Message, fmt.Sprintf("no answer in time (pid %d is hobd, state ", pid))
			require.Contains(t, e.Hint, "hob daemon restart --force")
			require.EqualValues(t, 1, w.attempts())
			if c.mortal {
				w.ok("daemon", "restart", "--force")
			} else {
				e := w.failure(124, "daemon", "restart", "--force", next)
				require.Equal(t, "timeout", e.Code)
				require.Contains(t, e.Message, fmt.Sprintf("(pid %d): no end in time", pid))
				w.lockedOnlyBy(pid)
			}
			g.set(c.file, c.off)
			require.NotEqual(t, pid, w.back(pid))
			require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
			require.Len(t, w.marked("web"), 1)
		})
	}
}

// TestWhatCanNotBeStopped is said to be so as long as it is: what ends in the end has an exit status like any other.
func TestWhatCanNotBeStopped(t *testing.T) {
	t.Parallel()
	g := newCgroup(t, "freezer")
	w := newWorld(t)
	w.toml("[services]\nweb = { run = ['sleep', '1000'], stop.timeout = '10ms' }\n" +
		"shell = { run = ['sh', '-c', 'sleep 1000 & echo $! >child; wait'], stop.timeout = '10ms' }\n")
	w.ok("up")
	pids := map[string]int{"web": w.list()["web"].Pid}
	w.eventually("the shell has a child", func() bool {
		_, err := fmt.Sscan(w.read("child"), new(int))
		return err == nil
	})
	child := 0
	_, err := fmt.Sscan(w.read("child"), &child)
	require.NoError(t, err)
	pids["shell"] = child // the shell itself ends
	w.ok("run", "adhoc", "--", "sleep", "1000")
	pids["adhoc"] = w.list()["adhoc"].Pid
	for _, pid := range pids {
		g.take(pid)
	}
	g.set("freezer.state", "FROZEN")
	t.Cleanup(func() { g.set("freezer.state", "THAWED") })
	for name, pid := range pids {
		require.Contains(t, w.failure(1, "stop", name, unhurried).Message, fmt.Sprintf("pid %d (sleep, state D) left after SIGKILL", pid))
		s := w.list()[name]
		require.Equal(t, "failed", s.State)
		require.Contains(t, s.Why, "can't be stopped")
	}
	e := w.failure(1, "down", unhurried)
	for _, pid := range pids {
		require.Contains(t, e.Message, fmt.Sprintf("pid %d (sleep, state D) left after SIGKILL", pid))
	}
	require.NotContains(t, e.Message, "\n")
	require.Len(t, w.list(), 3, "neither is forgotten")
	g.set("freezer.state", "THAWED")
	for name := range pids {
		var s api.Service
		w.eventually("it has ended", func() bool { s = w.list()[name]; return !strings.Contains(s.Why, "can't be stopped") })
		require.Equal(t, s.Exit.String(), s.Why)
		require.Contains(t, s.Why, "killed by SIG")
		w.ok("start", name)
	}
}

// TestKilledWithAllItStarted: hobd, its sentry, its services and its clients are killed in the same instant, by cgroup.kill, at any moment. The next
// up finds everything in order. HOB_CRASHES is how often.
func TestKilledWithAllItStarted(t *testing.T) {
	t.Parallel()
	rounds, _ := crashes(t, 10)
	g := newCgroup(t, "")
	w := newWorld(t)
	w.toml("[services]\na.run = ['sleep', '1000']\nb.run = ['sh', '-c', 'sleep 1000 & wait']\nb.needs = ['a']\nc.run = ['sh', '-c', 'while :; do echo c; sleep 0.01; done']\n")
	inside := func(args ...string) *exec.Cmd {
		cmd := w.command(append([]string{unhurried}, args...)...)
		// Not by clone(2) into the group: there are kernels that kill whoever comes in that way after a cgroup.kill.
		cmd.Path = "/bin/sh"
		cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs")}, cmd.Args...)
		return cmd
	}
	g.set("cgroup.kill", "1")
	calls := [][]string{{"restart", "a"}, {"stop", "b"}, {"run", "x", "--", "sleep", "1000"}, {"daemon", "restart"}, {"daemon", "upgrade"}, {"up"}, {"ps"}, {"down"}}
	for i := range rounds {
		r := w.run(inside("up"))
		require.Zero(t, r.code, "round %d: %s%s\nlog: %s", i, r.stdout, r.stderr, w.daemonLog())
		for _, name := range []string{"a", "b", "c"} {
			require.Len(t, runsOf(w.marked(name)), 1, "round %d: runs of %s", i, name)
		}
		w.lockedBy(1)
		wait := w.startAtOnce(3, func(int) *exec.Cmd { return inside(calls[rand.IntN(len(calls))]...) })
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // any moment will do
		g.set("cgroup.kill", "1")
		wait() // for one, too, that came too late for that
		w.eventually("nobody is left", func() bool {
			g.set("cgroup.kill", "1")
			return g.read("cgroup.procs") == ""
		})
	}
	require.Zero(t, w.run(inside("up")).code)
	require.Equal(t, "running", w.list()["b"].State)
	w.ok("down", unhurried)
	w.deserted()
	require.Empty(t, leftOvers(t, w))
	t.Logf("%d times everything was killed at once", rounds)
}

// runsOf are the marks of processes, each once: a run has one.
func runsOf(found []process.Marked) []string {
	var marks []string
	for _, m := range found {
		marks = append(marks, m.Mark)
	}
	slices.Sort(marks)
	return slices.Compact(marks)
}

// TestServiceThatUsesUpTheMemory: the kernel kills the service, and nobody else.
func TestServiceThatUsesUpTheMemory(t *testing.T) {
	t.Parallel()
	g := newCgroup(t, "memory")
	g.set("memory.limit_in_bytes", "400M")
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	g.take(pid)
	w.ok("run", "eater", "--restart", "no", "--no-wait", "--", "tail", "/dev/zero")
	require.Equal(t, 137, w.hob("wait", "eater", "--for", "exit").code)
	eater := w.doc(0, "ps", "eater").Service
	require.Equal(t, "failed", eater.State)
	require.Equal(t, "SIGKILL", eater.Exit.Signal)
	require.Equal(t, pid, w.pid())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
}
