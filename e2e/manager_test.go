//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
)

// notified is a small service manager: it hears what sd_notify(3) says, and who says it.
type notified struct {
	path string
	mu   sync.Mutex
	said []string    // "PID TEXT"
	fed  []time.Time // when WATCHDOG=1 came
}

func newNotified(t *testing.T) *notified {
	t.Helper()
	dir, err := os.MkdirTemp("", "hob-n-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &notified{path: filepath.Join(dir, "notify")}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	raw, err := l.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }))
	require.NoError(t, err)
	go func() {
		text, oob := make([]byte, 4096), make([]byte, 256)
		for {
			size, rights, _, _, err := l.ReadMsgUnix(text, oob)
			if err != nil {
				return
			}
			pid := 0
			if all, err := unix.ParseSocketControlMessage(oob[:rights]); err == nil && len(all) > 0 {
				if cred, err := unix.ParseUnixCredentials(&all[0]); err == nil {
					pid = int(cred.Pid)
				}
			}
			n.mu.Lock()
			if string(text[:size]) == "WATCHDOG=1" {
				n.fed = append(n.fed, time.Now())
			}
			n.said = append(n.said, fmt.Sprintf("%d %s", pid, text[:size]))
			n.mu.Unlock()
		}
	}()
	return n
}

// heard is all that was said by a process.
func (n *notified) heard(pid int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, s := range n.said {
		if text, ok := strings.CutPrefix(s, fmt.Sprint(pid, " ")); ok {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// all is what anybody said.
func (n *notified) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.said, "\n")
}

// others is what anybody else said.
func (n *notified) others(pids ...int) (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.said {
		who, _, _ := strings.Cut(s, " ")
		ours := false
		for _, pid := range pids {
			ours = ours || who == strconv.Itoa(pid)
		}
		if !ours {
			all = append(all, s)
		}
	}
	return all
}

// underManager is hobd as a service manager starts it: without a terminal.
func (w *world) underManager(n *notified, env ...string) *exec.Cmd {
	cmd := w.hobd("--foreground")
	cmd.Env = append(append(cmd.Env, "NOTIFY_SOCKET="+n.path), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// managed starts hobd as a service manager does, and waits for READY=1.
func (w *world) managed(n *notified, env ...string) (cmd *exec.Cmd, ended chan error) {
	w.t.Helper()
	cmd = w.underManager(n, env...)
	cmd.Stderr = &lockedBuffer{}
	require.NoError(w.t, cmd.Start())
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.t.Cleanup(func() { _ = cmd.Process.Kill() })
	w.eventually("it says that it is ready", func() bool { return strings.Contains(n.heard(cmd.Process.Pid), "READY=1") })
	return cmd, ended
}

// TestManagerIsTold: READY=1 when it serves, how its services are, RELOADING=1 around a reload, STOPPING=1. Nobody but hobd speaks to it, and a
// client is answered when it was told.
func TestManagerIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := newNotified(t)
	// The watchdog is meant for another process.
	cmd, ended := w.managed(n, "WATCHDOG_PID=1", "WATCHDOG_USEC=1000", "LISTEN_FDS=1")
	pid := cmd.Process.Pid
	require.Contains(t, n.heard(pid), fmt.Sprintf("READY=1\nMAINPID=%d\nSTATUS=no services", pid))
	require.Zero(t, w.hob("daemon", "ping").code)
	require.Equal(t, pid, w.pid())
	w.ok("run", "web", "--", "sleep", "1000")
	w.eventually("its state is told", func() bool { return strings.Contains(n.heard(pid), "STATUS=1 running") })
	w.hob("run", "bad", "--restart", "no", "--", "false")
	w.eventually("and what failed", func() bool { return strings.Contains(n.heard(pid), "STATUS=1 running, 1 failed (bad)") })
	// Its environment is hobd's own, for want of another one.
	w.toml("[services.more]\nrun = ['sh', '-c', 'env | grep -E ^NOTIFY_\\|^WATCHDOG_\\|^LISTEN_; echo that is all; exec sleep 1000']\n")
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	w.eventually("the reload is told, and its end", func() bool {
		_, after, found := strings.Cut(n.heard(pid), "RELOADING=1\nMONOTONIC_USEC=")
		return found && strings.Contains(after, "READY=1\nSTATUS=")
	})
	w.eventually("it was reloaded", func() bool { return strings.Contains(w.ok("ps").stdout, "more") })
	w.eventually("it has looked", func() bool { return w.ok("logs", "more").stdout != "" })
	require.Equal(t, "that is all\n", w.ok("logs", "more").stdout)
	for _, of := range []int{w.onGuard(2), w.list()["more"].Pid} {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", of))
		require.NoError(t, err)
		require.NotContains(t, string(env), n.path)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-ended)
	w.eventually("its end is told", func() bool { return strings.HasSuffix(n.heard(pid), "STOPPING=1\nSTATUS=stopping") })
	require.NotContains(t, n.heard(pid), "WATCHDOG=1")
	require.Empty(t, n.others(pid))
	require.Empty(t, w.marked("web"))
}

// TestManagedHobdTakesOver from one that a client has started in the background: services go on. And 50 clients meanwhile start none beside it.
func TestManagedHobdTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	before, background := w.doc(0, "ps", "web").Service.Pid, w.pid()
	n := newNotified(t)
	cmd, _ := w.managed(n)
	require.Equal(t, cmd.Process.Pid, w.pid())
	require.NotEqual(t, background, w.pid())
	for i, r := range w.atOnce(50, func(int) *exec.Cmd { return w.command("daemon", "start", "--json", unhurried) }) {
		require.Zero(t, r.code, "client %d: %s", i, r.stdout)
		require.Contains(t, r.stdout, fmt.Sprintf(`"pid":%d`, cmd.Process.Pid))
	}
	require.Equal(t, before, w.doc(0, "ps", "web").Service.Pid)
	require.NotContains(t, cmd.Stderr.(*lockedBuffer).String(), "hobd was down")
	// Typed by hand, it says who is there instead.
	second := w.run(w.hobd("--foreground"))
	require.Equal(t, 1, second.code)
	require.Contains(t, second.stderr, fmt.Sprintf("another daemon has the lock (pid %d)", cmd.Process.Pid))
}

// TestKilledHobdIsTheManagersToReplace: its sentry lets the manager begin, and services live on.
func TestKilledHobdIsTheManagersToReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := newNotified(t)
	cmd, ended := w.managed(n)
	w.ok("run", "web", "--", "sleep", "1000")
	w.onGuard(1)
	service := w.doc(0, "ps", "web").Service.Pid
	for range 3 {
		require.NoError(t, cmd.Process.Kill())
		<-ended
		w.eventually("the sentry has seen it", func() bool { return strings.Count(w.daemonLog(), "gone without a word") == 1 })
		time.Sleep(200 * time.Millisecond) // RestartSec of systemd is a tenth of a second: by then a sentry that does not wait has started one
		require.Zero(t, w.starts(), "the sentry was too quick")
		cmd, ended = w.managed(n)
		require.Equal(t, cmd.Process.Pid, w.pid())
		require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
		w.onGuard(1)
		require.NoError(t, os.Truncate(w.inst().Path(instance.DaemonLog), 0))
	}
}

// TestTwoManagersDoNotFight: what one of them has started, or a person, the other one does not replace.
func TestTwoManagersDoNotFight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	typed := w.hobd("--foreground")
	require.NoError(t, typed.Start())
	t.Cleanup(func() { _ = typed.Process.Kill() })
	w.eventually("it serves", func() bool { return w.hob("daemon", "ping").code == 0 })
	refused := func(of int) {
		t.Helper()
		r := w.run(w.underManager(newNotified(t)))
		require.Equal(t, 1, r.code, r.stderr)
		require.Contains(t, r.stderr, fmt.Sprintf("another hobd serves it in the foreground (pid %d)", of))
		require.Equal(t, of, w.pid())
	}
	refused(typed.Process.Pid)
	require.NoError(t, typed.Process.Signal(syscall.SIGTERM))
	require.NoError(t, typed.Wait())
	cmd, ended := w.managed(newNotified(t))
	refused(cmd.Process.Pid)
	// After an upgrade it is in the foreground still.
	w.ok("daemon", "upgrade")
	refused(cmd.Process.Pid)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, <-ended)
}

// TestReplacedHobdIsTheManagersAgain: daemon restart has hobd end with the status after which the manager starts the next one, which takes over from
// whatever the client has started.
func TestReplacedHobdIsTheManagersAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := newNotified(t)
	cmd, ended := w.managed(n)
	w.ok("run", "web", "--", "sleep", "1000")
	service := w.doc(0, "ps", "web").Service.Pid
	for _, how := range [][]string{{"daemon", "restart"}, {"daemon", "restart", "--force"}} {
		w.onGuard(1)
		w.ok(how...)
		require.Error(t, <-ended)
		require.Equal(t, 75, cmd.ProcessState.ExitCode())
		w.eventually("its end is told", func() bool {
			return strings.HasSuffix(n.heard(cmd.Process.Pid), "STOPPING=1\nSTATUS=leaving what runs for the next hobd")
		})
		cmd, ended = w.managed(n)
		require.Equal(t, cmd.Process.Pid, w.pid())
		require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
	}
	w.ok("down")
	require.NoError(t, <-ended, "the end was asked for")
}

// TestManagedHobdIsNeverIdle: its manager decides when it leaves. One in the background has left by then.
func TestManagedHobdIsNeverIdle(t *testing.T) {
	t.Parallel()
	n := newNotified(t)
	w, other := newWorld(t), newWorld(t)
	cmd, _ := w.managed(n)
	for _, w := range []*world{w, other} {
		w.toml("[daemon]\nidle_exit = '100ms'\n")
		w.ok("up")
	}
	other.eventually("the other one has left", func() bool { return len(openers(other.inst().LockPath())) == 0 })
	require.Equal(t, cmd.Process.Pid, w.pid())
	require.NotContains(t, n.heard(cmd.Process.Pid), "STOPPING=1")
}

// hungry reports that WATCHDOG=1 has not come for so long.
func (n *notified) hungry(limit time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.fed) > 0 && time.Since(n.fed[len(n.fed)-1]) > limit
}

// TestWatchdog: hobd says again and again that it is well, and no more when it does not answer. SIGABRT, which it gets from a manager then, has it write
// what it was at; services live on, and the next one has them.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := newNotified(t)
	const every = 10 * time.Second
	cmd, ended := w.managed(n, fmt.Sprintf("WATCHDOG_USEC=%d", every.Microseconds()), "HOB_FAULT=daemon.upgrade.intended=sleep")
	w.ok("run", "web", "--", "sleep", "1000")
	service := w.doc(0, "ps", "web").Service.Pid
	w.onGuard(1)
	w.eventually("it has been fed twice", func() bool { return strings.Count(n.heard(cmd.Process.Pid), "WATCHDOG=1") >= 2 })
	hangs := w.command("daemon", "upgrade") // nobody is answered meanwhile
	require.NoError(t, hangs.Start())
	w.eventually("it is not fed", func() bool { return n.hungry(every) })
	require.NoError(t, hangs.Process.Kill())
	_ = hangs.Wait()
	require.NoError(t, cmd.Process.Signal(syscall.SIGABRT))
	require.Error(t, <-ended)
	require.Equal(t, 2, cmd.ProcessState.ExitCode())
	require.Contains(t, cmd.Stderr.(*lockedBuffer).String(), "goroutine ")
	require.Contains(t, cmd.Stderr.(*lockedBuffer).String(), "upgrade")
	cmd, _ = w.managed(n)
	require.Equal(t, cmd.Process.Pid, w.pid())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
}

// TestUnitFileIsRight as systemd sees it.
func TestUnitFileIsRight(t *testing.T) {
	t.Parallel()
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no systemd-analyze, and this is CI")
		}
		t.Skip("no systemd-analyze")
	}
	text, err := os.ReadFile("../docs/hobd@.service")
	require.NoError(t, err)
	// The programs are where make install puts them.
	w := newWorld(t)
	local := filepath.Join(w.home, ".local/bin")
	require.NoError(t, os.MkdirAll(local, 0o755))
	for _, name := range []string{"hob", "hobd"} {
		require.NoError(t, os.Symlink(filepath.Join(w.bin, name), filepath.Join(local, name)))
	}
	// The template, and as systemd-escape names the instance for "/srv/my shop $1%f".
	for _, name := range []string{"hobd@.service", `hobd@srv-my\x20shop\x20\x241\x25f.service`} {
		unit := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(unit, text, 0o644))
		cmd := exec.Command(verify, "verify", "--man=no", "--user", unit)
		cmd.Env = append(os.Environ(), "HOME="+w.home, "XDG_RUNTIME_DIR="+t.TempDir()) // nobody need be logged in
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.NotContains(t, string(out), "hobd@", "it warns")
	}
}
