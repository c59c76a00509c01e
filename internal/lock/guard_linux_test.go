package lock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// newKey gives a key that no other test has: abstract names are the machine's.
func newKey() string { return fmt.Sprintf("hob/test/%d/%s", os.Getpid(), rand.Text()) }

func tryGuard(t *testing.T, key string) *Guard {
	t.Helper()
	g, err := TryGuard(key)
	require.NoError(t, err)
	require.NotNil(t, g)
	t.Cleanup(func() { g.Close() })
	return g
}

// helpGuard binds the guard arg.
func helpGuard(arg string) (string, error) {
	g, err := TryGuard(arg)
	if err != nil {
		return "", err
	}
	if g == nil {
		return "no guard", nil
	}
	kept = append(kept, g.File())
	return "guarded", nil
}

// helpListen adopts the guard at descriptor 3.
func helpListen(string) (string, error) {
	g := GuardFromFD(3)
	go g.Serve()
	kept = append(kept, g.File())
	flags, err := unix.FcntlInt(3, unix.F_GETFD, 0)
	return fmt.Sprintf("close-on-exec %v", flags&unix.FD_CLOEXEC != 0), err
}

func TestOnlyOneProcessHasTheGuard(t *testing.T) {
	key := newKey()
	_, _, held := LookGuard(key)
	require.False(t, held)
	h := begin(t, "guard", key, nil)
	require.Equal(t, "guarded", h.said)
	_, err := TryGuard(key)
	require.ErrorIs(t, err, ErrHeld)
	pid, uid, held := LookGuard(key)
	require.True(t, held)
	require.Equal(t, h.cmd.Process.Pid, pid)
	require.Equal(t, os.Geteuid(), uid)
	h.kill()
	eventually(t, "the guard is free", func() bool {
		_, _, held := LookGuard(key)
		return !held
	})
	tryGuard(t, key)
}

func TestGuardIsFreeWhenEveryCopyIsClosed(t *testing.T) {
	key := newKey()
	g := tryGuard(t, key)
	h := begin(t, "listen", "", func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{g.File()} })
	require.Equal(t, "close-on-exec true", h.said)
	require.NoError(t, g.Close())
	require.NoError(t, g.Close(), "again")
	_, err := TryGuard(key)
	require.ErrorIs(t, err, ErrHeld)
	h.kill()
	eventually(t, "the guard is free", func() bool {
		g, err := TryGuard(key)
		return err == nil && g != nil && g.Close() == nil
	})
}

// TestGuardNamesWhoListensLast: unix(7) shows the process that called listen(2), so a daemon
// that was handed the socket listens once more.
func TestGuardNamesWhoListensLast(t *testing.T) {
	key := newKey()
	g := tryGuard(t, key)
	pid, _, held := LookGuard(key)
	require.True(t, held)
	require.Equal(t, os.Getpid(), pid)
	h := begin(t, "listen", "", func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{g.File()} })
	pid, _, held = LookGuard(key)
	require.True(t, held)
	require.Equal(t, h.cmd.Process.Pid, pid)
}

// TestForeignGuardIsIgnored: another user's squat is named, and stops nobody.
func TestForeignGuardIsIgnored(t *testing.T) {
	needRoot(t)
	key := newKey()
	h := begin(t, "guard", key, func(cmd *exec.Cmd) { cmd.SysProcAttr = asUser(somebody) })
	require.Equal(t, "guarded", h.said)
	pid, uid, held := LookGuard(key)
	require.True(t, held)
	require.Equal(t, somebody, uid)
	require.Equal(t, h.cmd.Process.Pid, pid)
	g, err := TryGuard(key)
	require.NoError(t, err)
	require.Nil(t, g)
}

// TestGuardIsSeenFromAPidNamespace: the lock is not, /proc shows nothing of what is outside.
func TestGuardIsSeenFromAPidNamespace(t *testing.T) {
	key := newKey()
	tryGuard(t, key)
	h := begin(t, "guard", key, ownNamespaces(unix.CLONE_NEWPID))
	if strings.HasPrefix(h.said, "start: ") {
		t.Skip("no such namespace for us: " + h.said)
	}
	require.Equal(t, "error: "+ErrHeld.Error(), h.said)
}

// TestGuardServeDrains: looks that nobody accepts fill the queue, and then nobody can be named.
func TestGuardServeDrains(t *testing.T) {
	key := newKey()
	g := tryGuard(t, key)
	full := false
	for range 2 * backlog {
		if _, _, held := LookGuard(key); !held {
			full = true
			break
		}
	}
	require.True(t, full, "the queue never fills")
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Serve()
	}()
	eventually(t, "Serve drains the queue", func() bool {
		_, _, held := LookGuard(key)
		return held
	})
	for range 2 * backlog {
		eventually(t, "a look is answered", func() bool {
			_, _, held := LookGuard(key)
			return held
		})
	}
	require.NoError(t, g.Close())
	<-done
}

// TestGuardServeEndsOnWhatIsNoGuard, instead of spinning.
func TestGuardServeEndsOnWhatIsNoGuard(t *testing.T) {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[1])
	g := GuardFromFD(p[0])
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Serve()
	}()
	ended := false
	eventually(t, "Serve ends", func() bool {
		select {
		case <-done:
			ended = true
		default:
		}
		return ended
	})
	require.NoError(t, g.Close())
}

func TestNoGuardIsFine(t *testing.T) {
	g := GuardFromFD(-1)
	require.Nil(t, g)
	g.Serve()
	require.Nil(t, g.File())
	require.NoError(t, g.Close())
}

// TestGuardOrHeldNeverNeither: of many who try at once each has the guard or is told that another
// has it. Who went on without one would start a daemon that a removed lock file makes two.
func TestGuardOrHeldNeverNeither(t *testing.T) {
	count := map[string]int{}
	for range 10 {
		// All looks of a round fit into the queue, which nobody serves here.
		for _, what := range stampede(newKey(), 8, backlog/16) {
			count[what]++
		}
	}
	require.Empty(t, count)
}

// stampede gives what went wrong.
func stampede(key string, clients, rounds int) (wrong []string) {
	var mu sync.Mutex // guards wrong
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range rounds {
				g, err := TryGuard(key)
				_ = g.Close()
				if errors.Is(err, ErrHeld) || err == nil && g != nil {
					continue
				}
				mu.Lock()
				wrong = append(wrong, fmt.Sprintf("guard %v, error %v", g != nil, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return wrong
}

// helpStarve serves the guard arg, and may open no more descriptors than it has.
func helpStarve(arg string) (string, error) {
	g, err := TryGuard(arg)
	if err != nil || g == nil {
		return "no guard", err
	}
	kept = append(kept, g.File())
	none := unix.Rlimit{Cur: 0, Max: 1024}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		return "", err
	}
	go g.Serve()
	return "starving", nil
}

// TestGuardOutlivesAShortageOfDescriptors: who looks waits in the queue meanwhile, and is answered when it is over.
func TestGuardOutlivesAShortageOfDescriptors(t *testing.T) {
	key := newKey()
	h := begin(t, "starve", key, nil)
	require.Equal(t, "starving", h.said)
	c, err := net.Dial("unix", "@"+key)
	require.NoError(t, err)
	defer c.Close()
	for range 5 {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(guardPause)))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody can accept it")
		pid, _, held := LookGuard(key)
		require.True(t, held)
		require.Equal(t, h.cmd.Process.Pid, pid)
	}
	enough := unix.Rlimit{Cur: 1024, Max: 1024}
	require.NoError(t, unix.Prlimit(h.cmd.Process.Pid, unix.RLIMIT_NOFILE, &enough, nil))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	h.kill()
}
