package lock

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestHeldSeesALockWithoutTouchingIt(t *testing.T) {
	dir := tempDir(t)
	held, pid, err := Held(dir, name)
	require.NoError(t, err)
	require.False(t, held)
	require.Zero(t, pid)
	require.NoFileExists(t, path(dir), "looking makes nothing")

	h := begin(t, "hold", dir.Name(), nil)
	held, pid, err = Held(dir, name)
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, h.cmd.Process.Pid, pid)
	h.leave(t)
	eventually(t, "not held", func() bool {
		held, _, err := Held(dir, name)
		require.NoError(t, err)
		return !held
	})
}

// TestHeldDoesNotEvenOpenTheLockFile, so no starter ever fails because somebody looks.
func TestHeldDoesNotEvenOpenTheLockFile(t *testing.T) {
	dir := tempDir(t)
	l := acquire(t, dir)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, path(dir), unix.IN_OPEN)
	require.NoError(t, err)
	opened := func() bool {
		n, err := unix.Read(fd, make([]byte, 4096))
		require.True(t, n > 0 || err == unix.EAGAIN)
		return n > 0
	}
	for _, want := range []bool{true, false} {
		held, _, err := Held(dir, name)
		require.NoError(t, err)
		require.Equal(t, want, held)
		require.False(t, opened(), "held: %v", want)
		_ = l.Close() // to look at a free one next
	}
	f, err := os.Open(path(dir))
	require.NoError(t, err)
	defer f.Close()
	require.True(t, opened(), "the watch works")
}

func TestHeldAfterTheDeathOfTheTaker(t *testing.T) {
	dir := tempDir(t)
	h, _ := orphan(t, dir)
	held, _, err := Held(dir, name)
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, h.stdin.Close())
	eventually(t, "not held", func() bool {
		held, _, err := Held(dir, name)
		require.NoError(t, err)
		return !held
	})
}

// TestHeldIsOfThisFile: another lock in the same directory, and an open file, are none.
func TestHeldIsOfThisFile(t *testing.T) {
	dir := tempDir(t)
	require.NoError(t, acquire(t, dir).Close())
	other, err := TryAcquire(dir, "other.lock")
	require.NoError(t, err)
	defer other.Close()
	f, err := os.Open(path(dir))
	require.NoError(t, err)
	defer f.Close()
	held, _, err := Held(dir, name)
	require.NoError(t, err)
	require.False(t, held)
	// An fcntl(2) lock is another kind.
	rw, err := os.OpenFile(path(dir), os.O_RDWR, 0)
	require.NoError(t, err)
	defer rw.Close()
	require.NoError(t, unix.FcntlFlock(rw.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	held, _, err = Held(dir, name)
	require.NoError(t, err)
	require.False(t, held)
}

func TestFlockLine(t *testing.T) {
	dev := unix.Mkdev(0xfe, 1)
	for line, want := range map[string]int{
		"1: FLOCK  ADVISORY  WRITE 812 fe:01:1234 0 EOF":    812,
		"12: FLOCK  ADVISORY  READ 7 fe:01:1234 0 EOF":      7,
		"1: FLOCK  ADVISORY  WRITE -1 fe:01:1234 0 EOF":     0,
		"1: FLOCK  ADVISORY  WRITE <none> fe:01:1234 0 EOF": 0,
		"1: -> FLOCK  ADVISORY  WRITE 812 fe:01:1234 0 EOF": -1,
		"1: POSIX  ADVISORY  WRITE 812 fe:01:1234 0 EOF":    -1,
		"1: OFDLCK ADVISORY  WRITE -1 fe:01:1234 0 EOF":     -1,
		"1: FLOCK  ADVISORY  WRITE 812 fe:01:1235 0 EOF":    -1,
		"1: FLOCK  ADVISORY  WRITE 812 fe:02:1234 0 EOF":    -1,
		"1: FLOCK  ADVISORY  WRITE 812 fe:01 0 EOF":         -1,
		"1: FLOCK  ADVISORY  WRITE 812 x:y:z 0 EOF":         -1,
		"1: FLOCK": -1,
		"":         -1,
	} {
		pid, ok := flockLine(line, dev, 1234)
		require.Equal(t, want >= 0, ok, line)
		require.Equal(t, max(want, 0), pid, line)
	}
}

// helpNested is the first process of a pid namespace. It looks at a lock whose taker, inside, is
// dead, and says what /proc/locks knows of it and what Held finds.
func helpNested(arg string) (string, error) {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return "mount: " + err.Error(), nil
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperVar+"=die")
	cmd.Stdin = os.Stdin
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return "", err
	}
	dir, err := os.Open(arg)
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, 0); err != nil {
		return "", err
	}
	held, pid, err := Held(dir, name)
	return fmt.Sprintf("listed %v, held %v, by the child %v", strings.Contains(string(locks), fmt.Sprintf(":%d ", st.Ino)),
		held, fmt.Sprint(pid) == strings.TrimSpace(string(out))), err
}

// TestHeldInsideAPidNamespace, where /proc/locks leaves out the lock of a taker that is gone.
func TestHeldInsideAPidNamespace(t *testing.T) {
	dir := tempDir(t)
	h := begin(t, "nested", dir.Name(), ownNamespaces(unix.CLONE_NEWPID))
	if strings.HasPrefix(h.said, "mount: ") || strings.HasPrefix(h.said, "start: ") {
		t.Skip("no such namespace for us: " + h.said)
	}
	require.Equal(t, "listed false, held true, by the child true", h.said)
}
