//go:build linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// shell runs a script with hob on its PATH. The programs get pipes for their output, so a daemon
// or service that kept one would make it hang.
func (w *world) shell(script string) result {
	w.t.Helper()
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Env = w.project, w.environ()
	return w.run(cmd)
}

// TestCallersAreNotHeldUp: everything that waits for the end of a pipe returns while hobd and
// the service live.
func TestCallersAreNotHeldUp(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"command substitution": `out=$(hob run web -- sleep 1000 2>&1); echo "$out"`,
		"pipe":                 `hob run web -- sleep 1000 2>&1 | cat`,
		"descriptor 3":         `( ( hob run web -- sleep 1000 ) | cat ) 3>&1 1>&2 2>&3 | cat`,
		"descriptor 9":         `exec 9>lock; flock -n 9 hob run web -- sleep 1000; exec 9>&-; exec 8>lock; flock -n 8`,
		"twenty descriptors":   `for i in $(seq 20 40); do eval "exec $i<>/dev/null"; done; hob run web -- sleep 1000 | cat`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.shell(script)
			require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
			d := w.doc(0, "ps", "web")
			require.Equal(t, "running", d.Service.State)
			w.onGuard(1) // while hobd forks its sentry it has a pipe of Go's
			checkDescriptors(w, w.pid(), d.Service.Pid)
		})
	}
}

// checkDescriptors looks at what hobd and the service have open.
func checkDescriptors(w *world, daemon, service int) {
	for fd, to := range descriptors(w.t, daemon) {
		inside := strings.HasPrefix(to, w.stateDir()) || strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "socket:") ||
			strings.HasPrefix(to, "/sys/fs/cgroup/") || strings.HasPrefix(to, "/proc/") || to == os.DevNull
		require.True(w.t, inside, "hobd has descriptor %d: %s", fd, to)
	}
	for fd, to := range descriptors(w.t, service) {
		switch fd {
		case 0:
			require.Equal(w.t, os.DevNull, to)
		case 1, 2:
			require.Equal(w.t, w.inst().Path("fifo", "web"), to)
		case process.LockDescriptor:
			require.Equal(w.t, w.inst().Path("svc", "web.lock"), to)
		default:
			w.t.Errorf("the service has descriptor %d: %s", fd, to)
		}
	}
}

func descriptors(t *testing.T, pid int) map[int]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := map[int]string{}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		require.NoError(t, err)
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			out[fd] = to
		}
	}
	return out
}

// statusField reads a line of /proc/PID/status.
func statusField(t *testing.T, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("no %s in /proc/%d/status", name, pid)
	return ""
}

func init() {
	// block executes its arguments with every signal blocked.
	helpers["block"] = func(args []string) int {
		runtime.LockOSThread() // else another thread, with none of them blocked, may be the one that goes on
		var all unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = ^all.Val[i]
		}
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil); err != nil {
			return 98
		}
		_ = os.Unsetenv("HOB_E2E_HELPER")
		fmt.Fprintln(os.Stderr, unix.Exec(args[0], args, os.Environ()))
		return 97
	}
}

// TestServicesGetCleanSignals: nothing ignored, nothing blocked, a session of its own, however
// hob itself was started.
func TestServicesGetCleanSignals(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	for name, script := range map[string]string{
		"plain":        `hob run web -- sleep 1000`,
		"background":   `hob run web -- sleep 1000 & wait $!`,
		"nohup":        `nohup hob run web -- sleep 1000`,
		"all ignored":  `trap '' HUP INT QUIT TERM PIPE USR1 USR2 ALRM TSTP TTIN TTOU CHLD; hob run web -- sleep 1000`,
		"all blocked":  `HOB_E2E_HELPER=block "` + self + `" "$(command -v hob)" run web -- sleep 1000`,
		"daemon first": `HOB_E2E_HELPER=block "` + self + `" "$(command -v hob)" daemon start; nohup hob run web -- sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.shell(script)
			require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
			pid := w.doc(0, "ps", "web").Service.Pid
			for _, field := range []string{"SigIgn", "SigBlk"} {
				require.Equal(t, strings.Repeat("0", 16), statusField(t, pid, field), field)
			}
			info, err := process.Stat(pid)
			require.NoError(t, err)
			require.Equal(t, pid, info.Session)
			require.Equal(t, pid, info.Group)
			daemon, err := process.Stat(w.pid())
			require.NoError(t, err)
			require.Equal(t, w.pid(), daemon.Session)
			w.ok("stop", "web")
		})
	}
}

// TestClosedTerminal: the terminal in which hob was typed is closed: the daemon and the service
// live on, and another shell goes on with them.
func TestClosedTerminal(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("script(1) is not here")
	}
	w := newWorld(t)
	cmd := exec.Command("script", "-qec", "hob run web -- sleep 1000", os.DevNull)
	cmd.Dir, cmd.Env = w.project, w.environ("TERM=xterm")
	r := w.run(cmd)
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	require.Equal(t, "running", w.doc(0, "ps", "web").Service.State)
	require.EqualValues(t, 1, w.attempts())
	w.ok("down")
}

// TestHerdOfServices: what is asked by many at once is done once.
func TestHerdOfServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, r := range w.atOnce(40, func(int) *exec.Cmd { return w.command("run", "web", "--", "sleep", "1000") }) {
		require.Zero(t, r.code, "client %d: %s%s", i, r.stdout, r.stderr)
	}
	require.Len(t, w.marked("web"), 1)
	require.Equal(t, 1, w.doc(0, "ps", "web").Service.Generation)
}

// TestCtrlCOfTheCaller: the interrupt that ends the client's process group does not reach the
// daemon or the service.
func TestCtrlCOfTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.command("logs", "-f", "web")
	w.ok("run", "web", "--", "sh", "-c", "echo hello; sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	buf := make([]byte, len("hello\n"))
	_, err = io.ReadFull(out, buf)
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(buf))
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	require.NoError(t, cmd.Wait(), "Ctrl-C only ends the view")
	require.Equal(t, "running", w.doc(0, "ps", "web").Service.State)
}
