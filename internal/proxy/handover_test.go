package proxy

import (
	"context"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// passOn gives the connections to another proxy, as if it were in the next program.
func (h *house) passOn() int {
	h.t.Helper()
	return h.passOnWithin(patience)
}

func (h *house) passOnWithin(d time.Duration) int {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), d)
	defer cancel()
	links := h.proxy.HandOver(ctx)
	require.Zero(h.t, h.proxy.Open())
	h.use(New(h.reach, nil))
	for _, l := range links {
		require.NoError(h.t, h.proxy.Take(l, nil))
	}
	return len(links)
}

// TestConnectionsArePassedOn: also those of which one side has ended, and those that say nothing.
func TestConnectionsArePassedOn(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		client, service := h.connect()
		quiet, quietService := h.connect()
		half, halfService := h.connect()
		say(t, half, "the question")
		require.NoError(t, half.CloseWrite())
		require.Equal(t, "the question", rest(t, halfService))
		for range 10 {
			say(t, client, "ping")
			hear(t, service, "ping")
			say(t, client, "on its way")
			require.Equal(t, 3, h.passOn())
			hear(t, service, "on its way")
			say(t, service, "pong!")
			hear(t, client, "pong!")
			say(t, halfService, "a part")
			hear(t, half, "a part")
		}
		say(t, quiet, "at last")
		hear(t, quietService, "at last")
		require.NoError(t, halfService.CloseWrite())
		require.Empty(t, rest(t, half))
		eventually(t, "it is over", func() bool { return h.proxy.Open() == 2 })
		require.NoError(t, client.Close())
		require.Empty(t, rest(t, service))
		require.NoError(t, service.Close())
		require.NoError(t, quiet.Close())
		require.NoError(t, quietService.Close())
		h.empty()
	})
}

// slowly has the only dial return no sooner than the channel that until gives is closed, or its context ends.
func (h *house) slowly(until func(*link) <-chan struct{}) {
	p := New(nil, nil)
	p.dial = func(ctx context.Context) (net.Conn, error) {
		c, err := h.reach(ctx)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		l := slices.Collect(maps.Keys(p.links))[0]
		p.mu.Unlock()
		select {
		case <-until(l):
			return c, nil
		case <-ctx.Done():
			c.Close()
			return nil, ctx.Err()
		}
	}
	h.use(p)
}

// TestServiceThatHasJustBeenReachedIsKept: it has accepted, and may have said something, and would take the end for the client's.
func TestServiceThatHasJustBeenReachedIsKept(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		h.slowly(func(l *link) <-chan struct{} { return l.halted })
		client, service := h.connect()
		say(t, client, "ping")
		say(t, service, "220 hello")
		require.Equal(t, 1, h.passOn())
		hear(t, client, "220 hello")
		hear(t, service, "ping")
		require.Empty(t, h.accepted)
	})
}

// TestServiceThatIsNotReachedYetIsReachedLater: one whose backlog is full, and one that does not listen yet.
func TestServiceThatIsNotReachedYetIsReachedLater(t *testing.T) {
	t.Parallel()
	t.Run("backlog", func(t *testing.T) {
		t.Parallel()
		everyPair(t, func(t *testing.T, h *house) {
			h.slowly(func(*link) <-chan struct{} { return nil })
			client, _ := h.connect()
			say(t, client, "ping")
			require.Equal(t, 1, h.passOnWithin(10*time.Millisecond))
			hear(t, h.next(), "ping")
		})
	})
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		everyPair(t, func(t *testing.T, h *house) {
			tried := make(chan struct{}, 100)
			h.use(New(func(context.Context) (net.Conn, error) {
				tried <- struct{}{}
				return nil, syscall.ECONNREFUSED
			}, nil))
			client := h.dial()
			<-tried
			say(t, client, "ping")
			require.Equal(t, 1, h.passOn())
			hear(t, h.next(), "ping")
		})
	})
}

// TestNothingIsLostWhilePassedOn: a stream in both directions, through many programs.
func TestNothingIsLostWhilePassedOn(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		client, service := h.connect()
		var wg sync.WaitGroup
		const size = 16 << 20
		flow := func(from, to stream) {
			wg.Go(func() {
				for n := 0; n < size; {
					b := make([]byte, 10000)
					for i := range b {
						b[i] = byte((n + i) % 251)
					}
					m, err := from.Write(b[:min(len(b), size-n)])
					if n += m; err != nil {
						t.Errorf("write: %v", err)
						return
					}
				}
			})
			wg.Go(func() {
				b := make([]byte, 10000)
				for n := 0; n < size; {
					m, err := to.Read(b)
					if err != nil && err != io.EOF {
						t.Errorf("read after %d: %v", n, err)
						return
					}
					for i := range m {
						if b[i] != byte((n+i)%251) {
							t.Errorf("byte %d is another one", n+i)
							return
						}
					}
					n += m
				}
			})
		}
		flow(client, service)
		flow(service, client)
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for n := 0; ; n++ {
			require.Equal(t, 1, h.passOn())
			select {
			case <-done:
				t.Logf("passed on %d times", n)
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
}

// TestWhoDoesNotReadIsReset: what is in between can't be given away.
func TestWhoDoesNotReadIsReset(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "tcp", "tcp", nil)
	client, service := h.connect()
	for n := 1; n > 0; { // until nothing more fits anywhere
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(500*time.Millisecond)))
		n, _ = client.Write(make([]byte, 64<<20))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.Empty(t, h.proxy.HandOver(ctx))
	_, err := io.Copy(io.Discard, service)
	require.Error(t, err)
	h.empty()
}
