package ipc

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of docs/security.md that need this room alone. In each subtest "control" the same attack works against something that does not
// defend itself.

// allocated is how many bytes f takes, in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAnnouncedLengthTakesNoMemory (S9): a length is only a claim. Not parallel: it looks at the memory of the process.
func TestAnnouncedLengthTakesNoMemory(t *testing.T) {
	for _, length := range []string{"0", "-1", fmt.Sprint(FirstFrame + 1), "2147483647", "2147483648", "4294967295", "9223372036854775808", "1e9", "0x7fffffff", "104857600"} {
		taken := allocated(func() {
			c, p := newConn(t, ConnOptions{Handler: echo})
			p.send("Content-Length: " + length + "\r\n\r\n")
			if length == "0" { // no message, and no fault
				p.send(withHeader(`{"id":1,"method":"m"}`))
				require.Equal(t, "Content-Length: 38\r\n", p.line())
				require.NoError(t, c.Close())
			} else {
				require.Contains(t, p.rest(), `"code":-32`, length)
			}
			within(t, "Done", c.Done())
		})
		require.Less(t, taken, uint64(1<<20), length)
	}
	t.Run("control", func(t *testing.T) {
		require.Greater(t, allocated(func() {
			var length int
			_, err := fmt.Sscanf("Content-Length: 104857600\r\n", "Content-Length: %d\r\n", &length)
			require.NoError(t, err)
			require.Len(t, make([]byte, length), length)
		}), uint64(100<<20), "a reader that believes it")
	})
}

// TestDribbleIsBoundedInTime (S10): a byte a second does not keep a connection.
func TestDribbleIsBoundedInTime(t *testing.T) {
	t.Parallel()
	// dribble sends a byte each second for an hour, or until the connection ends, and gives how long that took. The clock is the bubble's.
	dribble := func(t *testing.T, first string, o ConnOptions) (lasted time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			a, raw := net.Pipe()
			c := NewConn(context.Background(), a, o)
			go func() { _, _ = io.Copy(io.Discard, raw) }()
			start := time.Now()
			_, _ = io.WriteString(raw, first)
			for c.Err() == nil && time.Since(start) < time.Hour {
				_, _ = io.WriteString(raw, " ")
				time.Sleep(time.Second)
			}
			lasted = time.Since(start)
			_ = raw.Close()
			_ = c.Close()
			c.Wait()
		})
		return lasted
	}
	request := `{"id":1,"method":"m"}` + "\n"
	for _, first := range []string{"", "{", "Content-Length: 60000\r\n", "Content-Length: 60000\r\n\r\n{"} {
		require.LessOrEqual(t, dribble(t, first, ConnOptions{Handler: echo, FirstFrameTimeout: 3 * time.Second}), 5*time.Second, first)
	}
	require.LessOrEqual(t, dribble(t, request+"{", ConnOptions{Handler: echo, FirstFrameTimeout: 3 * time.Second}), FrameTimeout+2*time.Second, "later ones too")
	t.Run("control", func(t *testing.T) {
		require.GreaterOrEqual(t, dribble(t, "{", ConnOptions{Handler: echo, FrameTimeout: 24 * time.Hour}), time.Hour, "without a limit it stays")
	})
}

// TestWhoNeverReadsIsLetGo (S12): answers to who does not read end its connection, and what waited for it.
func TestWhoNeverReadsIsLetGo(t *testing.T) {
	t.Parallel()
	lasts := func(t *testing.T, o ConnOptions) (ended bool) {
		o.Handler = echo
		synctest.Test(t, func(t *testing.T) {
			a, raw := net.Pipe() // takes nothing that is not read
			c := NewConn(context.Background(), a, o)
			_, err := io.WriteString(raw, `{"id":1,"method":"m"}`+"\n")
			require.NoError(t, err)
			time.Sleep(time.Minute)
			ended = c.Err() != nil
			_ = raw.Close()
			_ = c.Close()
			c.Wait()
		})
		return ended
	}
	require.True(t, lasts(t, ConnOptions{}), "with what hobd uses")
	t.Run("control", func(t *testing.T) {
		require.False(t, lasts(t, ConnOptions{WriteTimeout: 24 * time.Hour}), "without a limit it stays")
	})
}

// TestSocketIsBornInTheOpenDirectory (S4): what has the directory's path by now gets no socket.
func TestSocketIsBornInTheOpenDirectory(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("only through /proc can a socket be bound below a descriptor")
	}
	base := t.TempDir()
	path, victim := filepath.Join(base, "dir"), filepath.Join(base, "victim")
	require.NoError(t, os.Mkdir(path, 0o700))
	require.NoError(t, os.Mkdir(victim, 0o700))
	dir := openDir(t, path)
	require.NoError(t, os.Rename(path, path+".aside"))
	require.NoError(t, os.Symlink(victim, path))
	l, err := Listen(dir, "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	require.NoError(t, l.Publish())
	entries, err := os.ReadDir(victim)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.FileExists(t, filepath.Join(path+".aside", "s"))
	t.Run("control", func(t *testing.T) {
		l, err := net.Listen("unix", filepath.Join(path, "s"))
		require.NoError(t, err)
		defer l.Close()
		require.FileExists(t, filepath.Join(victim, "s"), "who binds by path is led there")
	})
}
