//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// insideVar says to a test binary that it is in a pid namespace of its own, and where the programs under test are.
const insideVar = "HOB_E2E_INSIDE"

// inPidNamespace runs the test t once more in a pid namespace of its own, where it can choose the next pid. In there it returns true. The
// shell is the namespace's init, which reaps whoever lost its parent.
func inPidNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVar) != "" {
		return true
	}
	unshare := []string{"unshare", "-rpf", "--kill-child", "--mount-proc"}
	if os.Geteuid() == 0 {
		unshare = []string{"unshare", "-pf", "--kill-child", "--mount-proc"}
	}
	if out, err := exec.Command(unshare[0], append(unshare[1:], "sh", "-c", "echo 1000 >/proc/sys/kernel/ns_last_pid")...).CombinedOutput(); err != nil {
		t.Skipf("no pid can be chosen here: %v: %s", err, out)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	limit := time.Hour
	if end, ok := t.Deadline(); ok { // in there it ends first, and says where it was
		limit = max(time.Until(end)-patience, patience)
	}
	cmd := exec.Command(unshare[0], append(unshare[1:], "sh", "-c", `"$@"; exit $?`, "sh", self, "-test.run=^"+t.Name()+"$", "-test.v",
		fmt.Sprintf("-test.short=%v", testing.Short()), fmt.Sprintf("-test.timeout=%v", limit))...)
	cmd.Env = append(os.Environ(), insideVar+"="+bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // and with it all in there
	runtime.LockOSThread()                                             // whose end would be the parent's, prctl(2)
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, line := range regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: (.*)$`).FindAllSubmatch(out, -1) {
		t.Logf("%s", line[1])
	}
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// bystander is a process that has a pid which somebody else had before. It is stopped, so it keeps every signal that is sent to it.
type bystander struct {
	t   *testing.T
	cmd *exec.Cmd
	pid int
}

// newStranger waits until the pid is free, and gives it to a bystander; nil: a thread of somebody else's was quicker, and keeps it.
func newStranger(t *testing.T, pid int) *bystander {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		if _, err := process.Stat(pid); !errors.Is(err, os.ErrNotExist) {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		require.NoError(t, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0))
		cmd := exec.Command("sleep", "1000")
		require.NoError(t, cmd.Start())
		s := &bystander{t: t, cmd: cmd, pid: cmd.Process.Pid}
		if s.pid == pid {
			require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
			for s.state() != 'T' {
				require.NotZero(t, s.state())
			}
			return s
		}
		s.end() // somebody else forked in between
	}
	return nil
}

// state is 0 when it is gone.
func (s *bystander) state() byte {
	info, err := process.Stat(s.pid)
	if err != nil {
		return 0
	}
	return info.State
}

// requireUntouched: nobody has sent it a signal.
func (s *bystander) requireUntouched(when string) {
	s.t.Helper()
	require.Equal(s.t, "T", string(s.state()), "%s: the bystander is not as it was", when)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	require.NoError(s.t, err)
	require.Regexp(s.t, `(?m)^SigPnd:\t0+\nShdPnd:\t0+$`, string(status), "%s: the bystander was signalled", when)
}

func (s *bystander) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// TestStrangersHavePidsOfOurs: whoever has the pid that hobd, a sentry, a service or the holder of a lease had before is never signalled nor
// taken for it, and no start is refused.
func TestStrangersHavePidsOfOurs(t *testing.T) {
	t.Parallel()
	if !inPidNamespace(t) {
		return
	}
	w := newWorld(t)
	kinds := []func(*world) bool{(*world).hobdsPid, (*world).servicesPid, (*world).sentrysPid, (*world).holdersPid, (*world).recordedPid}
	rounds := 50
	if os.Getenv("HOB_SWEEP") != "" {
		rounds = 1000
	}
	missed := 0
	for i := 0; i < rounds; {
		w.ok(swept...)
		w.onGuard(1)
		if kinds[i%len(kinds)](w) {
			i++
		} else if missed++; missed > 10+rounds/10 {
			require.Fail(t, "pids are not to be had")
		}
	}
	w.ok("down", next)
	w.deserted()
	t.Logf("%d pids of others; %d were not to be had", rounds, missed)
}

// replaced kills hobd and its sentry, and whoever else is named. A bystander has the pid.
func (w *world) replaced(pid int, also ...int) *bystander {
	w.t.Helper()
	w.killSilently()
	for _, p := range also {
		w.kill(p, syscall.SIGKILL)
	}
	return newStranger(w.t, pid)
}

// The rounds of TestStrangersHavePidsOfOurs report whether the pid was to be had.

// restarted has the next hobd start, in one way or another, with the service as it was, if it keeps it.
func (w *world) restarted(s *bystander, service process.ID, how ...string) {
	w.t.Helper()
	w.ok(append(how, next)...)
	s.requireUntouched(strings.Join(how, " "))
	require.NotEqual(w.t, s.pid, w.pid())
	require.Equal(w.t, []process.ID{service}, idsOf(w.marked("web")))
	now := w.doc(0, "ps", "web").Service
	require.Equal(w.t, "running", now.State)
	require.Equal(w.t, service.Pid, now.Pid)
}

func (w *world) hobdsPid() bool {
	service := idsOf(w.marked("web"))[0]
	s := w.replaced(w.pid())
	if s == nil {
		return false
	}
	defer s.end()
	d := w.doc(3, "daemon", "status").Daemon
	require.Equal(w.t, "stale", d.State)
	w.restarted(s, service, "daemon", "restart", "--force")
	w.ok("daemon", "restart", "--force", next)
	s.requireUntouched("a second restart")
	return true
}

func (w *world) sentrysPid() bool {
	service := idsOf(w.marked("web"))[0]
	s := w.replaced(w.sentries()[0])
	if s == nil {
		return false
	}
	defer s.end()
	w.restarted(s, service, "daemon", "start")
	w.onGuard(1)
	w.ok("daemon", "stop", next)
	s.requireUntouched("stop")
	return true
}

func (w *world) servicesPid() bool {
	was := w.doc(0, "ps", "web").Service
	s := w.replaced(was.Pid, was.Pid)
	if s == nil {
		return false
	}
	defer s.end()
	w.ok("daemon", "start", next)
	now := w.doc(0, "ps", "web").Service
	require.Equal(w.t, "failed", now.State)
	require.Zero(w.t, now.Pid)
	require.Contains(w.t, now.Why, "while hobd was down")
	w.ok("stop", "web", next)
	w.oneService("web")
	require.NotEqual(w.t, s.pid, w.doc(0, "ps", "web").Service.Pid)
	w.ok("down", next)
	s.requireUntouched("down")
	return true
}

func (w *world) holdersPid() bool {
	service := idsOf(w.marked("web"))[0]
	holder := exec.Command("sleep", "1000")
	require.NoError(w.t, holder.Start())
	pid := holder.Process.Pid
	w.ok("hold", "web", "--pid", strconv.Itoa(pid), next)
	require.Equal(w.t, []int{pid}, w.doc(0, "ps", "web").Service.Leases)
	w.killSilently()
	require.NoError(w.t, holder.Process.Kill())
	_ = holder.Wait()
	s := newStranger(w.t, pid)
	if s == nil {
		return false
	}
	defer s.end()
	w.restarted(s, service, "daemon", "start")
	w.eventually("the lease is over", func() bool { return len(w.doc(0, "ps", "web").Service.Leases) == 0 })
	s.requireUntouched("the end of the lease")
	return true
}

// recordedPid: somebody has the lock, and the record names a pid that a bystander has. Force has nobody to use it on, and says so.
func (w *world) recordedPid() bool {
	service := idsOf(w.marked("web"))[0]
	s := w.replaced(w.pid())
	if s == nil {
		return false
	}
	defer s.end()
	state, err := os.Open(w.stateDir())
	require.NoError(w.t, err)
	defer state.Close()
	l, err := lock.TryAcquire(state, w.inst().LockName())
	require.NoError(w.t, err)
	defer l.Close()
	e := w.failure(1, "daemon", "restart", "--force", next)
	require.Equal(w.t, "not_evicted", e.Code)
	require.Contains(w.t, e.Message, fmt.Sprintf("pid %d", s.pid))
	s.requireUntouched("a restart of somebody else")
	require.NoError(w.t, l.Close())
	w.restarted(s, service, "daemon", "start")
	return true
}
