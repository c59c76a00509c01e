package proxy

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func everyPair(t *testing.T, f func(t *testing.T, h *house)) {
	for _, p := range pairs {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) {
			t.Parallel()
			f(t, newHouse(t, p[0], p[1], nil))
		})
	}
}

func TestBytesPassBothWays(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		client, service := h.connect()
		for range 100 {
			say(t, client, "ping")
			hear(t, service, "ping")
			say(t, service, "pong!")
			hear(t, client, "pong!")
		}
		require.Equal(t, 1, h.proxy.Open())
		require.EqualValues(t, 1, h.proxy.Served())
		require.NoError(t, client.Close())
		require.Empty(t, rest(t, service))
		require.NoError(t, service.Close())
		h.empty()
		require.EqualValues(t, 1, h.proxy.Served())
	})
}

func TestServiceMaySpeakFirst(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		client, service := h.connect()
		say(t, service, "220 hello\r\n")
		hear(t, client, "220 hello\r\n")
	})
}

// TestServiceAnswersAfterTheClientHasEnded: HTTP/1.0 clients, and everything like "echo query | nc".
func TestServiceAnswersAfterTheClientHasEnded(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) { halfClose(t, h, false) })
}

func TestClientSpeaksAfterTheServiceHasEnded(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) { halfClose(t, h, true) })
}

func halfClose(t *testing.T, h *house, serviceFirst bool) {
	first, second := h.connect()
	if serviceFirst {
		first, second = second, first
	}
	say(t, first, "the question")
	require.NoError(t, first.CloseWrite())
	require.Equal(t, "the question", rest(t, second))
	for range 100 { // each of which would show that the end was passed on as more than that
		say(t, second, "a part of the answer ")
		hear(t, first, "a part of the answer ")
	}
	require.Equal(t, 1, h.proxy.Open())
	say(t, second, "the last")
	require.NoError(t, second.CloseWrite())
	require.Equal(t, "the last", rest(t, first))
	h.empty() // though neither has closed its socket
}

// TestNothingIsLostBothWaysAtOnce compares hashes of what was said and heard.
func TestNothingIsLostBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		const size = 100 << 20
		client, service := h.connect()
		type result struct {
			sum string
			err error
		}
		said, heard := [2]chan result{}, [2]chan result{}
		for i, c := range []stream{client, service} {
			said[i], heard[i] = make(chan result, 1), make(chan result, 1)
			go func() {
				sum := sha256.New()
				noise := rand.NewChaCha8([32]byte{byte(i)})
				_, err := io.CopyN(io.MultiWriter(c, sum), noise, size)
				if err == nil {
					err = c.CloseWrite()
				}
				said[i] <- result{string(sum.Sum(nil)), err}
			}()
			go func() {
				sum := sha256.New()
				n, err := io.Copy(sum, c)
				if err == nil && n != size {
					err = io.ErrUnexpectedEOF
				}
				heard[1-i] <- result{string(sum.Sum(nil)), err}
			}()
		}
		for i := range 2 {
			s, g := <-said[i], <-heard[i]
			require.NoError(t, s.err)
			require.NoError(t, g.err)
			require.True(t, s.sum == g.sum, "other bytes arrived")
		}
		h.empty()
	})
}

func TestResetIsPassedOn(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]func(a, b stream) (stream, stream){
		"to the service": func(a, b stream) (stream, stream) { return a, b },
		"to the client":  func(a, b stream) (stream, stream) { return b, a },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "tcp", "tcp", nil)
			one, other := order(h.connect())
			say(t, one, "and then")
			hear(t, other, "and then")
			reset(t, one)
			_, err := other.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			h.empty()
		})
		t.Run(name+" after a half-close", func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "tcp", "tcp", nil)
			one, other := order(h.connect())
			require.NoError(t, one.CloseWrite())
			require.Empty(t, rest(t, other))
			reset(t, one) // while other says nothing, and so cannot find out by that
			h.empty()
			eventually(t, "writing fails", func() bool {
				_, err := other.Write([]byte("x"))
				return err != nil
			})
		})
	}
}

// TestGoneClientEndsTheService where it can be known at once, and what it said last still arrives.
func TestGoneClientEndsTheService(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, network, "tcp", nil)
			client, service := h.connect()
			say(t, client, "counter:1|c")
			require.NoError(t, client.Close())
			require.Equal(t, "counter:1|c", rest(t, service))
			eventually(t, "the service, which does not close, is told", func() bool {
				_, err := service.Write([]byte("x"))
				return err != nil
			})
			h.empty()
		})
	}
}

func TestGoneServiceEndsTheClient(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		client, service := h.connect()
		say(t, service, "bye")
		require.NoError(t, service.Close())
		require.Equal(t, "bye", rest(t, client))
		eventually(t, "the client, which does not close, is told", func() bool {
			_, err := client.Write([]byte("x"))
			return err != nil
		})
		h.empty()
	})
}

func TestSlowReaderBlocksNobody(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		client, service := h.connect()
		full := make(chan error, 1)
		go func() {
			_, err := io.CopyN(client, rand.NewChaCha8([32]byte{}), 64<<20) // more than any buffers on the way
			full <- err
		}()
		say(t, service, "the other way is free")
		hear(t, client, "the other way is free")
		for range 10 {
			c, s := h.connect()
			say(t, c, "so are others")
			hear(t, s, "so are others")
		}
		n, err := io.CopyN(io.Discard, service, 64<<20)
		require.NoError(t, err, n)
		require.NoError(t, <-full)
	})
}

func TestSmallWritesAreNotDelayed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "tcp", "tcp", nil)
	client, service := h.connect()
	say(t, client, "both sides are there")
	hear(t, service, "both sides are there")
	var sides []net.Conn
	h.proxy.mu.Lock()
	for l := range h.proxy.links {
		l.mu.Lock()
		sides = append(sides, l.a, l.b)
		l.mu.Unlock()
	}
	h.proxy.mu.Unlock()
	require.Len(t, sides, 2)
	for _, c := range sides {
		raw, err := c.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		var on int
		var got error
		require.NoError(t, raw.Control(func(fd uintptr) { on, got = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY) }))
		require.NoError(t, got)
		require.NotZero(t, on)
	}
}
