package lock

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// helpRace takes the lock and gives it back, again and again, and dies of one that is not the
// named file's.
func helpRace(arg string) (string, error) {
	dir, err := os.Open(arg)
	if err != nil {
		return "", err
	}
	go func() {
		for {
			l, err := TryAcquire(dir, name)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
			if !l.Current() {
				fmt.Fprintln(os.Stderr, "took the lock of a file that was gone before")
				os.Exit(4)
			}
			_ = l.Close()
		}
	}()
	return "racing", nil
}

// TestFileRemovedBetweenOpenAndFlock is not the one whose lock is given. The process is stopped at
// any instant; where it has the file open and not locked, that instant is found.
func TestFileRemovedBetweenOpenAndFlock(t *testing.T) {
	dir := tempDir(t)
	h := begin(t, "race", dir.Name(), nil)
	require.Equal(t, "racing", h.said)
	pid := h.cmd.Process.Pid
	for end, hits := time.Now().Add(patience), 0; hits < 20; {
		if !time.Now().Before(end) {
			t.Fatal("the instant between open and flock was not found")
		}
		require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
		eventually(t, "every thread is stopped", func() bool {
			require.False(t, zombie(pid), "it died, see above")
			return stopped(pid)
		})
		if hasOpen(pid, path(dir)) && !locked(t, dir) {
			require.NoError(t, os.Remove(path(dir)))
			hits++
		}
		require.NoError(t, unix.Kill(pid, unix.SIGCONT))
		eventually(t, "it goes on", func() bool { return !stopped(pid) })
	}
	h.leave(t)
}

// stopped reports whether every thread of pid is.
func stopped(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(stat, []byte(") T ")) {
			return false
		}
	}
	return true
}

func hasOpen(pid int, path string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); to == path {
			return true
		}
	}
	return false
}

func locked(t *testing.T, dir *os.File) bool {
	t.Helper()
	is, _, err := Held(dir, name)
	require.NoError(t, err)
	return is
}
