//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
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
)

// The tests of docs/security.md that need the programs. Each has a subtest "control", in which the same attack works against something
// that does not defend itself: without one, a test could be content because its attack was none.

// stranger is another user's number; it needs no name.
const stranger = 23456

func needTwoUsers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
}

// attacker is a process of any user that does one thing, says what became of it, and stays until it is let go.
type attacker struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Closer
	said *bufio.Reader
}

// attack starts one: a verb of attacks and its arguments. files are its descriptors from 3 on.
func attack(t *testing.T, uid int, files []*os.File, args ...string) *attacker {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "HOB_E2E_HELPER=attacker", "GORACE=atexit_sleep_ms=0")
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = "/", os.Stderr, files
	if uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	a := &attacker{t: t, cmd: cmd, in: in, said: bufio.NewReader(out)}
	t.Cleanup(a.letGo)
	return a
}

// says is the next line of it.
func (a *attacker) says() string {
	a.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = a.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := a.said.ReadString('\n')
	require.NoError(a.t, err, "%v said %q", a.cmd.Args, line)
	return strings.TrimSuffix(line, "\n")
}

func (a *attacker) letGo() {
	_ = a.in.Close()
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

func init() {
	helpers["attacker"] = func(args []string) int {
		runtime.LockOSThread() // ptrace(2) is a thread's
		fmt.Println(outcome(attacks[args[0]](args[1:])))
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	}
}

func outcome(what string, err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	if err != nil {
		return err.Error()
	}
	return what
}

var attacks = map[string]func(args []string) (string, error){
	"connect": attackConnect, "squat": attackSquat, "lock": attackLock, "guard": attackGuard, "signal": attackSignal,
	"read": func(args []string) (string, error) {
		data, err := os.ReadFile(args[0])
		return strings.TrimSpace(string(data)), err
	},
	"write": func(args []string) (string, error) { return "written", os.WriteFile(args[0], []byte("x"), 0o600) },
	"ptrace": func(args []string) (string, error) {
		pid, _ := strconv.Atoi(args[0])
		return "attached", syscall.PtraceAttach(pid) // ends with this thread
	},
	"accept": attackAccept,
}

// attackConnect says what comes back to a text.
func attackConnect(args []string) (string, error) {
	c, err := net.Dial("unix", args[0])
	if err != nil {
		return "", err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, args[1])
	n, _ := c.Read(make([]byte, 1<<16))
	return fmt.Sprintf("connected, read %v", n > 0), nil
}

// attackSquat listens on the bound socket at descriptor 3 and tells how much each client says.
func attackSquat([]string) (string, error) {
	if err := unix.Listen(3, 8); err != nil {
		return "", err
	}
	l, err := net.FileListener(os.NewFile(3, "squat"))
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := c.Read(make([]byte, 1<<16))
			fmt.Println("heard", n)
			c.Close()
		}
	}()
	return "there", nil
}

// attackLock opens a file as its owner would, and holds it.
func attackLock(args []string) (string, error) {
	fd, err := unix.Open(args[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	return "held", unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
}

// attackGuard has an abstract name.
func attackGuard(args []string) (string, error) {
	_, err := net.Listen("unix", "@"+args[0])
	return "squats", err
}

func attackSignal(args []string) (string, error) {
	pid, err1 := strconv.Atoi(args[0])
	sig, err2 := strconv.Atoi(args[1])
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	return "sent", syscall.Kill(pid, syscall.Signal(sig))
}

// attackAccept is a server without any limit of its own: it answers each client with a byte and keeps it. It says when it can't go on.
func attackAccept(args []string) (string, error) {
	limit := unix.Rlimit{Cur: floodLimit, Max: floodLimit}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	l, err := net.Listen("unix", args[0])
	if err != nil {
		return "", err
	}
	fmt.Println("there")
	for {
		c, err := l.Accept()
		if err != nil {
			return "", err
		}
		_, _ = c.Write([]byte("x"))
	}
}

// opened gives others the right to reach everything on the way to a file, and the file itself.
func (w *world) opened(path string) {
	w.t.Helper()
	require.NoError(w.t, os.Chmod(path, 0o666))
	for dir := filepath.Dir(path); dir != w.home; dir = filepath.Dir(dir) {
		require.NoError(w.t, os.Chmod(dir, 0o755))
	}
}

// victim is a directory of somebody with something in it that must stay as it is.
func (w *world) victim() string {
	w.t.Helper()
	dir := filepath.Join(filepath.Dir(w.home), "victim")
	require.NoError(w.t, os.Mkdir(dir, 0o777))
	require.NoError(w.t, os.Chmod(dir, 0o777))
	require.NoError(w.t, os.WriteFile(filepath.Join(dir, "canary"), []byte("sings"), 0o666))
	if os.Geteuid() == 0 {
		require.NoError(w.t, os.Chown(dir, stranger, stranger))
	}
	return dir
}

// own is one of the user himself, closed to others: only that nobody follows a symlink keeps it as it is.
func (w *world) own() string {
	w.t.Helper()
	dir := filepath.Join(filepath.Dir(w.home), "mine")
	require.NoError(w.t, os.Mkdir(dir, 0o700))
	require.NoError(w.t, os.WriteFile(filepath.Join(dir, "canary"), []byte("sings"), 0o600))
	return dir
}

// unharmed: nothing was written into the victim's directory or over what was there.
func (w *world) unharmed(dir string) {
	w.t.Helper()
	require.Equal(w.t, []string{"canary"}, namesIn(w.t, dir))
	data, err := os.ReadFile(filepath.Join(dir, "canary"))
	require.NoError(w.t, err)
	require.Equal(w.t, "sings", string(data))
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
