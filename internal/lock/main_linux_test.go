package lock

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is a deadline for what must happen: long, because a busy machine is no failure.
const patience = 60 * time.Second

// somebody is a user id that is neither root's nor, as a rule, that of whoever runs the tests.
const somebody = 65534

const helperVar, argVar = "LOCK_TEST_HELPER", "LOCK_TEST_ARG"

// name of the lock file under test.
const name = "instance-0123456789abcdef.lock"

// self is this program for a child of any user: its path may lead through directories of mode 0700.
const self = "/proc/self/exe"

// helpers are processes that the test binary plays. They say a line when they are so far and
// stay until their stdin ends.
var helpers = map[string]func(arg string) (string, error){
	"hold":   helpHold,
	"exec":   helpExec,
	"adopt":  helpAdopt,
	"die":    helpDie,
	"sit":    func(string) (string, error) { return "sitting", nil },
	"guard":  helpGuard,
	"listen": helpListen,
	"starve": helpStarve,
	"nested": helpNested,
	"full":   helpFull,
	"race":   helpRace,
}

func TestMain(m *testing.M) {
	role := os.Getenv(helperVar)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	time.AfterFunc(4*patience, func() { os.Exit(99) }) // nothing outlives a broken test for long
	said, err := helpers[role](os.Getenv(argVar))
	if err != nil {
		said = "error: " + err.Error()
	}
	fmt.Println(strings.ReplaceAll(said, "\n", " | "))
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// helper is a process that was started and has said its line.
type helper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  string
}

// begin starts a helper. adjust, which may be nil, changes the command first.
func begin(t testing.TB, role, arg string, adjust func(*exec.Cmd)) *helper {
	t.Helper()
	cmd := exec.Command(self)
	// The race detector makes every exit wait a second.
	cmd.Env = append(os.Environ(), helperVar+"="+role, argVar+"="+arg, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if adjust != nil {
		adjust(cmd)
	}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	if err := cmd.Start(); err != nil {
		stdin.Close()
		return &helper{said: "start: " + err.Error()}
	}
	h := &helper{cmd: cmd, stdin: stdin}
	t.Cleanup(h.kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the helper said %q", line)
	h.said = strings.TrimSuffix(line, "\n")
	return h
}

// kill ends the helper and reaps it.
func (h *helper) kill() {
	h.stdin.Close()
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// leave lets the helper end by itself.
func (h *helper) leave(t *testing.T) {
	t.Helper()
	require.NoError(t, h.stdin.Close())
	require.NoError(t, h.cmd.Wait())
}

// ownNamespaces gives a child mounts, and with flags more, that end with it; an ordinary user
// needs a user namespace for that.
func ownNamespaces(flags uintptr) func(*exec.Cmd) {
	// Unshareflags, not Cloneflags: then no mount is propagated to where we came from.
	attr := &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Cloneflags: flags}
	if uid := os.Geteuid(); uid != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return func(cmd *exec.Cmd) { cmd.SysProcAttr = attr }
}

// inside lets a helper work in dir, with mounts of its own.
func inside(dir *os.File) func(*exec.Cmd) {
	adjust := ownNamespaces(0)
	return func(cmd *exec.Cmd) {
		adjust(cmd)
		cmd.Dir = dir.Name()
	}
}

func asUser(uid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
}

// tempDir gives an open, empty directory.
func tempDir(t testing.TB) *os.File {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { dir.Close() })
	return dir
}

func acquire(t testing.TB, dir *os.File) *Lock {
	t.Helper()
	l, err := TryAcquire(dir, name)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func path(dir *os.File) string { return filepath.Join(dir.Name(), name) }

// eventually waits for what must come true; how long that takes is nobody's promise: a holder
// that was killed while it forked keeps its lock for another moment.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// free waits until the lock can be taken, and gives it back.
func free(t *testing.T, dir *os.File) {
	t.Helper()
	eventually(t, "the lock is free", func() bool {
		l, err := TryAcquire(dir, name)
		if err != nil {
			require.ErrorIs(t, err, ErrHeld)
			return false
		}
		return l.Close() == nil
	})
}

// helpHold takes the lock in the directory arg.
func helpHold(arg string) (string, error) {
	dir, err := os.Open(arg)
	if err != nil {
		return "", err
	}
	l, err := TryAcquire(dir, name)
	if err != nil {
		return "", err
	}
	kept = append(kept, dir, l.File())
	return "locked", nil
}

// kept must not be collected, and closed by that, while a helper sits.
var kept []*os.File

// inherited gives a lock file that was handed over as descriptor 3.
func inherited(arg string) (dir *os.File, l *Lock, err error) {
	if dir, err = os.Open(arg); err != nil {
		return nil, nil, err
	}
	l, err = FromFile(os.NewFile(3, path(dir)), dir, name)
	if err == nil {
		kept = append(kept, dir, l.File())
	}
	return dir, l, err
}
