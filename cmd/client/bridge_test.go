package client

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func everyBridge(t *testing.T, f func(t *testing.T, b *bridging)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			f(t, newBridging(t, network, false))
		})
	}
}

func TestBridgeLosesNothingBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	for _, network := range []string{"tcp", "unix"} {
		for _, nonblock := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s nonblock %v", network, nonblock), func(t *testing.T) {
				t.Parallel()
				b := newBridging(t, network, nonblock)
				var sums [4][sha256.Size]byte
				failed := make(chan error, 4)
				send := func(i int, w io.Writer, end func() error) {
					sum := sha256.New()
					_, err := io.CopyN(io.MultiWriter(w, sum), rand.NewChaCha8([32]byte{byte(i)}), size)
					sums[i] = [sha256.Size]byte(sum.Sum(nil))
					failed <- errors.Join(err, end())
				}
				receive := func(i int, r io.Reader) {
					sum := sha256.New()
					_, err := io.CopyN(sum, r, size)
					sums[i] = [sha256.Size]byte(sum.Sum(nil))
					failed <- err
				}
				go send(0, b.stdin, b.stdin.Close)
				go receive(1, b.peer)
				go send(2, b.peer, func() error { return nil })
				go receive(3, b.stdout)
				for range 4 {
					require.NoError(t, <-failed)
				}
				require.True(t, sums[0] == sums[1] && sums[2] == sums[3], "other bytes arrived")
				require.NoError(t, b.peer.CloseWrite())
				b.exits(0)
				require.Equal(t, "heard ", b.words())
				flags, err := unix.FcntlInt(b.theirs[0].Fd(), unix.F_GETFL, 0)
				require.NoError(t, err)
				require.Equal(t, nonblock, flags&unix.O_NONBLOCK != 0, "somebody else's mode was changed")
			})
		}
	}
}

func TestBridgePassesTheEndOfStdinOn(t *testing.T) {
	t.Parallel()
	everyBridge(t, func(t *testing.T, b *bridging) {
		write(t, b.stdin, "the question")
		require.NoError(t, b.stdin.Close())
		question, err := io.ReadAll(b.peer)
		require.NoError(t, err)
		require.Equal(t, "the question", string(question))
		for range 10 {
			write(t, b.peer, "a part of the answer ")
			b.shows("a part of the answer ")
		}
		write(t, b.peer, "the last")
		require.NoError(t, b.peer.Close())
		answer, err := io.ReadAll(b.stdout)
		require.NoError(t, err)
		require.Equal(t, "the last", string(answer))
		b.exits(0)
	})
}

func TestBridgeEndsWithThePeerThoughStdinIsOpen(t *testing.T) {
	t.Parallel()
	everyBridge(t, func(t *testing.T, b *bridging) {
		write(t, b.stdin, "hello")
		b.hears("hello")
		require.Empty(t, b.words(), "nothing was heard")
		write(t, b.peer, "bye")
		require.NoError(t, b.peer.CloseWrite())
		said, err := io.ReadAll(b.stdout)
		require.NoError(t, err)
		require.Equal(t, "bye", string(said))
		b.exits(0)
	})
}

func TestBridgeReadsOnWhenThePeerTakesNoMore(t *testing.T) {
	t.Parallel()
	b := newBridging(t, "unix", false)
	require.NoError(t, b.peer.CloseRead())
	write(t, b.stdin, "can you hear me?")
	// It takes that, and can be told only EPIPE.
	require.Eventually(t, func() bool { return !canRead(b.theirs[0]) }, patience, time.Millisecond)
	for range 100 {
		write(t, b.peer, "I do not listen ")
		b.shows("I do not listen ")
	}
	require.NoError(t, b.peer.CloseWrite())
	b.exits(0)
}

func TestBridgeTellsOfAReset(t *testing.T) {
	t.Parallel()
	t.Run("while it waits", func(t *testing.T) {
		t.Parallel()
		b := newBridging(t, "tcp", false)
		write(t, b.peer, "connected")
		b.shows("connected")
		require.NoError(t, b.peer.(*net.TCPConn).SetLinger(0))
		require.NoError(t, b.peer.Close())
		b.exits(1)
		require.Equal(t, "heard read from the connection: connection reset by peer\n", b.words())
	})
	// Several times, because either direction may be told first.
	for i := range 8 {
		t.Run(fmt.Sprint("while it writes ", i), func(t *testing.T) {
			t.Parallel()
			b := newBridging(t, "tcp", false)
			go func() { _, _ = io.Copy(b.stdin, rand.NewChaCha8([32]byte{})) }() // until the end of the test
			_, err := io.CopyN(io.Discard, b.peer, 8<<20)
			require.NoError(t, err)
			require.NoError(t, b.peer.(*net.TCPConn).SetLinger(0))
			require.NoError(t, b.peer.Close())
			b.exits(1)
			require.Contains(t, b.words(), "the connection: connection reset by peer")
		})
	}
}

func TestBridgeEndsWhenNobodyReads(t *testing.T) {
	t.Parallel()
	everyBridge(t, func(t *testing.T, b *bridging) {
		write(t, b.peer, "x")
		b.shows("x")
		b.stopsReading()
		// Not once: a child that another test forks has the pipe, too, until its exec.
		ended := make(chan struct{})
		var more sync.WaitGroup
		more.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				_, _ = io.WriteString(b.peer, "y")
				time.Sleep(10 * time.Millisecond)
			}
		})
		b.exits(3)
		close(ended)
		more.Wait()
		require.Equal(t, "heard ", b.words())
	})
}

func TestBridgeWaitsForWhoReads(t *testing.T) {
	t.Parallel()
	for _, nonblock := range []bool{false, true} {
		b := newBridging(t, "tcp", nonblock)
		const size = 16 << 20 // more than any buffers on the way
		sent := make(chan error, 1)
		go func() {
			_, err := b.peer.Write(make([]byte, size))
			sent <- errors.Join(err, b.peer.CloseWrite())
		}()
		write(t, b.stdin, "the other way is free")
		b.hears("the other way is free")
		n, err := io.Copy(io.Discard, b.stdout)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		require.NoError(t, <-sent)
		b.exits(0)
	}
}

// TestBridgeTakesAnyStdin: what cannot be read is as good as empty.
func TestBridgeTakesAnyStdin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	long := strings.Repeat("line\n", 1<<16)
	require.NoError(t, os.WriteFile(file, []byte(long), 0o600))
	for name, c := range map[string]struct {
		path string
		flag int
		says string
	}{"a file": {file, os.O_RDONLY, long}, "nothing": {os.DevNull, os.O_RDONLY, ""}, "closed": {}, "a directory": {"/", os.O_RDONLY, ""},
		"not for reading": {file, os.O_WRONLY, ""}} {
		t.Run(name, func(t *testing.T) {
			in := -1
			if c.path != "" {
				f, err := os.OpenFile(c.path, c.flag, 0)
				require.NoError(t, err)
				defer f.Close()
				in = int(f.Fd())
			}
			sock, other := joined(t)
			r, w, err := pipe(false, false)
			require.NoError(t, err)
			defer r.Close()
			done := make(chan error, 1)
			go func() { done <- bridge(t.Context(), sock, in, int(w.Fd()), nil) }()
			got, err := io.ReadAll(other)
			require.NoError(t, err)
			require.True(t, c.says == string(got), "%d bytes", len(got))
			write(t, other, "answer")
			require.NoError(t, other.Close())
			require.NoError(t, <-done)
			require.NoError(t, w.Close())
			require.NoError(t, unix.Close(sock))
			got, err = io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, "answer", string(got))
		})
	}
}

// TestBridgeEndsWithItsContext also while nothing can move: stdin is silent, nobody reads stdout.
func TestBridgeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	everyBridge(t, func(t *testing.T, b *bridging) {
		write(t, b.peer, "x")
		b.shows("x")
		go func() { _, _ = b.peer.Write(make([]byte, 16<<20)) }() // until the end of the test
		require.Eventually(t, func() bool { return canRead(b.stdout) }, patience, time.Millisecond)
		require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
		b.exits(4)
	})
}
