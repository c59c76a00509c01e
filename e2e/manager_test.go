//go:build linux

package e2e

import (
	"bytes"
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
	said []string // "PID TEXT"
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

// managed starts hobd as a service manager does.
func (w *world) managed(n *notified) (cmd *exec.Cmd, ended chan error) {
	w.t.Helper()
	cmd = w.hobd("--foreground")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+n.path)
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
	cmd, ended := w.managed(n)
	pid := cmd.Process.Pid
	require.Contains(t, n.heard(pid), fmt.Sprintf("READY=1\nMAINPID=%d\nSTATUS=no services", pid))
	require.Zero(t, w.hob("daemon", "ping").code)
	require.Equal(t, pid, w.pid())
	w.ok("run", "web", "--", "sleep", "1000")
	w.eventually("its state is told", func() bool { return strings.Contains(n.heard(pid), "STATUS=1 running") })
	w.hob("run", "bad", "--restart", "no", "--", "false")
	w.eventually("and what failed", func() bool { return strings.Contains(n.heard(pid), "STATUS=1 running, 1 failed (bad)") })
	w.toml("[services.more]\nrun = ['sh', '-c', 'echo ${NOTIFY_SOCKET:-none}; exec sleep 1000']\n")
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	w.eventually("the reload is told, and its end", func() bool {
		_, after, found := strings.Cut(n.heard(pid), "RELOADING=1\nMONOTONIC_USEC=")
		return found && strings.Contains(after, "READY=1\nSTATUS=")
	})
	w.eventually("it was reloaded", func() bool { return strings.Contains(w.ok("ps").stdout, "more") })
	w.ok("run", "look", "--wait", "--", "sh", "-c", "echo ${NOTIFY_SOCKET:-none}")
	require.Equal(t, "none\n", w.ok("logs", "look").stdout)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-ended)
	require.True(t, strings.HasSuffix(n.heard(pid), "STOPPING=1\nSTATUS=stopping"), n.heard(pid))
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
	for i, r := range w.atOnce(50, func(int) *exec.Cmd { return w.command("daemon", "start", "--json", next) }) {
		require.Zero(t, r.code, "client %d: %s", i, r.stdout)
		require.Contains(t, r.stdout, fmt.Sprintf(`"pid":%d`, cmd.Process.Pid))
	}
	require.Equal(t, before, w.doc(0, "ps", "web").Service.Pid)
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
		time.Sleep(200 * time.Millisecond) // RestartSec of systemd is a tenth of a second: by then a sentry that does not wait has started one
		require.Equal(t, 1, strings.Count(w.daemonLog(), "gone without a word"))
		require.Zero(t, w.starts(), "the sentry was too quick")
		cmd, ended = w.managed(n)
		require.Equal(t, cmd.Process.Pid, w.pid())
		require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
		w.onGuard(1)
		require.NoError(t, os.Truncate(w.inst().Path(instance.DaemonLog), 0))
	}
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
	// Where the programs are is a matter of the machine.
	unit := filepath.Join(t.TempDir(), "hobd@.service")
	require.NoError(t, os.WriteFile(unit, bytes.ReplaceAll(text, []byte("%h/.local/bin"), []byte(bin)), 0o644))
	cmd := exec.Command(verify, "verify", "--man=no", "--user", unit)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir()) // nobody need be logged in
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "hobd@", "it warns")
}

func init() {
	// orphans leaves many processes behind that nobody waits for: each is the child of one that has ended.
	helpers["orphans"] = func(args []string) int {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return 1
		}
		for range n {
			cmd := exec.Command("sh", "-c", "(exit 3) & (sleep 0.0$$) & exit 0")
			if cmd.Start() != nil || cmd.Wait() != nil {
				return 1
			}
		}
		return 0
	}
}

// TestHobdAsPidOne: in a container it reaps what nobody else does, and never what it has to know the end of; TERM ends it in good order though
// pid 1 has no default actions.
func TestHobdAsPidOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("no unshare")
	}
	flags := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Geteuid() != 0 {
		flags = append([]string{"--user", "--map-current-user"}, flags...)
	}
	if out, err := exec.Command(unshare, append(flags, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no pid namespace of our own: %s", out)
	}
	cmd := exec.Command(unshare, append(flags, filepath.Join(w.bin, "hobd"), "--foreground", "--project", w.project)...)
	cmd.Dir, cmd.Env = w.project, w.environ()
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	w.eventually("it serves", func() bool { return w.pid() == 1 })
	one := 0
	w.eventually("it is there", func() bool {
		for _, pid := range children(cmd.Process.Pid) {
			one = pid
		}
		return one != 0 && len(openers(w.inst().LockPath())) > 0
	})
	inside := func(args ...string) result { // as with docker exec
		cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(one), "--pid", "--mount", "--"}, args...)...)
		if os.Geteuid() != 0 {
			cmd = exec.Command("nsenter", append([]string{"--target", strconv.Itoa(one), "--user", "--preserve-credentials", "--pid", "--mount", "--"}, args...)...)
		}
		cmd.Dir, cmd.Env = w.project, w.environ()
		return w.run(cmd)
	}
	hob := filepath.Join(w.bin, "hob")
	r := inside(hob, "run", "web", "--restart", "no", "--", "sh", "-c", "(sleep 1000 &); sleep 1000")
	require.Zero(t, r.code, r.stderr+said.String())
	self, err := os.Executable()
	require.NoError(t, err)
	r = inside("env", "HOB_E2E_HELPER=orphans", self, "250")
	require.Zero(t, r.code, r.stdout+r.stderr)
	w.eventually("none of 500 orphans is a zombie", func() bool { return len(zombiesOf(one)) == 0 && len(children(one)) <= 3 })
	for code := 1; code <= 20; code++ {
		r = inside(hob, "run", "--wait", "job", "--replace", "--", "sh", "-c", fmt.Sprintf("(exit 9) & exit %d", code))
		require.Equal(t, code, r.code, r.stderr)
	}
	require.NoError(t, syscall.Kill(one, syscall.SIGTERM))
	require.NoError(t, <-ended, said.String())
	require.Contains(t, said.String(), "msg=stopped")
}
