package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestManyConnectionsLeaveNothing: a thousand, fifty at a time, and each change is told in its order.
func TestManyConnectionsLeaveNothing(t *testing.T) {
	t.Parallel()
	const all, atOnce = 1000, 50
	var mu sync.Mutex
	var told []int
	h := newHouse(t, "tcp", "unix", func(open int) { mu.Lock(); told = append(told, open); mu.Unlock() })
	var echoes sync.WaitGroup
	echoes.Go(func() {
		for range all {
			c := <-h.accepted
			echoes.Go(func() { defer c.Close(); _, _ = io.Copy(c, c) })
		}
	})
	var left atomic.Int64
	left.Store(all)
	failed := make(chan error, all)
	var clients sync.WaitGroup
	for range atOnce {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				failed <- ask(h.front.Addr())
			}
		})
	}
	clients.Wait()
	echoes.Wait()
	for range all {
		require.NoError(t, <-failed)
	}
	h.empty()
	require.EqualValues(t, all, h.proxy.Served())
	h.proxy.Close() // until all is told
	require.Len(t, told, 2*all)
	was := 0
	for _, open := range told {
		require.True(t, open == was+1 || open == was-1, "%d after %d", open, was)
		was = open
	}
	require.Zero(t, was)
}

func ask(a net.Addr) error {
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		return err
	}
	defer c.Close()
	question := fmt.Sprint("question ", rand.Int())
	if _, err := io.WriteString(c, question); err != nil {
		return err
	}
	if err := c.(stream).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err == nil && string(answer) != question {
		err = fmt.Errorf("%q became %q", question, answer)
	}
	return err
}

// socketPair is a client's end and the one that was accepted.
func socketPair(t *testing.T) (client, accepted net.Conn) {
	t.Helper()
	l := listen(t, "tcp")
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))
	accepted, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return client, accepted
}

func TestClientIsToldWhyThereIsNoService(t *testing.T) {
	t.Parallel()
	sorry := errors.New("no such service")
	dials := 0
	p := New(func(context.Context) (net.Conn, error) { dials++; return nil, sorry }, nil)
	defer p.Close()
	client, accepted := socketPair(t)
	p.Serve(accepted, func(err error) {
		_, _ = fmt.Fprintf(accepted, "%v\n", err)
	})
	require.Equal(t, "connect to the service: no such service\n", rest(t, client))
	eventually(t, "no connection is open", func() bool { return p.Open() == 0 })
	require.Equal(t, 1, dials, "what is not a matter of time is not tried again")
	require.Zero(t, p.Served())
}

func TestRefusedClientIsClosed(t *testing.T) {
	t.Parallel()
	p := New(func(context.Context) (net.Conn, error) { return nil, errors.New("no") }, nil)
	defer p.Close()
	client, accepted := socketPair(t)
	p.Serve(accepted, nil)
	require.Empty(t, rest(t, client))
}

// TestOnlyStreamsAreForwarded: half an end, and so all of them, would be lost with anything else.
func TestOnlyStreamsAreForwarded(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
	p := New(func(context.Context) (net.Conn, error) { t.Error("dialled"); return nil, io.EOF }, nil)
	defer p.Close()
	refused := make(chan error, 1)
	p.Serve(near, func(err error) { refused <- err })
	require.EqualError(t, <-refused, "forward the client: *net.pipe is not a stream socket")

	client, accepted := socketPair(t)
	a, b := net.Pipe()
	defer b.Close()
	q := New(func(context.Context) (net.Conn, error) { return a, nil }, nil)
	defer q.Close()
	q.Serve(accepted, func(err error) { refused <- err })
	require.EqualError(t, <-refused, "connect to the service: *net.pipe is not a stream socket")
	require.Empty(t, rest(t, client))
	_, err := b.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "what was dialled is closed")
}

// TestServiceThatIsReplacedIsWaitedFor: nobody listens, then there is not even a socket, then there is.
func TestServiceThatIsReplacedIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "hob-p-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())

	var services sync.WaitGroup
	var attempts []error
	p := New(func(ctx context.Context) (net.Conn, error) {
		switch len(attempts) {
		case 3:
			require.NoError(t, os.Remove(path))
		case 6:
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			services.Go(func() {
				defer l.Close()
				if c, err := l.Accept(); err == nil {
					defer c.Close()
					_, _ = io.Copy(c, c)
				}
			})
		}
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		attempts = append(attempts, err)
		return c, err
	}, nil)
	defer services.Wait()
	defer p.Close()
	client, accepted := socketPair(t)
	say(t, client, "patient")
	p.Serve(accepted, func(err error) { t.Error(err) })
	hear(t, client, "patient")
	require.Len(t, attempts, 7)
	require.ErrorIs(t, attempts[2], syscall.ECONNREFUSED)
	require.ErrorIs(t, attempts[5], syscall.ENOENT)
	require.EqualValues(t, 1, p.Served())
}

func TestRefusedDialIsTriedUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{syscall.ECONNREFUSED, syscall.ENOENT, syscall.EAGAIN} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), dialTime)
			defer cancel()
			began := time.Now()
			var at []time.Duration
			_, err := persist(ctx, nil, func(context.Context) (net.Conn, error) {
				at = append(at, time.Since(began))
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}
			})
			require.ErrorIs(t, err, errno, "not that time was up, which tells nobody anything")
			require.Equal(t, dialTime, time.Since(began))
			require.Equal(t, []time.Duration{0, 5, 15, 35, 75, 155, 255, 355}, ms(at[:8]))
		})
	}
}

func ms(all []time.Duration) []time.Duration {
	for i := range all {
		all[i] /= time.Millisecond
	}
	return all
}

func TestCloseEndsAllAtOnce(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, h *house) {
		client, service := h.connect()
		idle, other := h.connect()
		say(t, idle, "there")
		hear(t, other, "there")
		full := make(chan error, 1)
		go func() {
			_, err := io.Copy(client, rand.NewChaCha8([32]byte{}))
			full <- err
		}()
		_, err := io.CopyN(io.Discard, service, 1<<20)
		require.NoError(t, err)
		h.proxy.Close()
		require.Zero(t, h.proxy.Open())
		require.Error(t, <-full)
		if _, err := idle.Read(make([]byte, 1)); h.front.Addr().Network() == "tcp" {
			require.ErrorIs(t, err, syscall.ECONNRESET)
		} else {
			require.ErrorIs(t, err, io.EOF)
		}
		late := h.dial()
		require.Empty(t, rest(t, late))
		require.Zero(t, h.proxy.Open())
		require.EqualValues(t, 2, h.proxy.Served())
		h.proxy.Close()
	})
}

func TestCloseEndsADial(t *testing.T) {
	t.Parallel()
	dialling := make(chan struct{})
	p := New(func(ctx context.Context) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}, nil)
	client, accepted := socketPair(t)
	p.Serve(accepted, func(err error) { t.Error("refused: ", err) })
	<-dialling
	require.Equal(t, 1, p.Open())
	p.Close()
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// TestServiceThatIsReachedTooLateIsClosed: the dial does not heed its context.
func TestServiceThatIsReachedTooLateIsClosed(t *testing.T) {
	t.Parallel()
	service, dialled := socketPair(t)
	dialling, goOn := make(chan struct{}), make(chan struct{})
	p := New(func(context.Context) (net.Conn, error) {
		close(dialling)
		<-goOn
		return dialled, nil
	}, nil)
	_, accepted := socketPair(t)
	p.Serve(accepted, func(err error) { t.Error("refused: ", err) })
	<-dialling
	done := make(chan struct{})
	go func() { defer close(done); p.Close() }()
	eventually(t, "it is closed", func() bool { return p.ctx.Err() != nil })
	require.Equal(t, 1, p.Open(), "which is known when Close has ended the links, too")
	close(goOn)
	<-done
	require.Empty(t, rest(t, service))
	require.Zero(t, p.Served())
}

// TestChangedMayAsk: it is called outside of any lock.
func TestChangedMayAsk(t *testing.T) {
	t.Parallel()
	var p *Proxy
	told := make(chan int, 2)
	p = New(func(context.Context) (net.Conn, error) { return nil, io.EOF }, func(open int) {
		_, _ = p.Open(), p.Served()
		told <- open
	})
	defer p.Close()
	_, accepted := socketPair(t)
	p.Serve(accepted, nil)
	require.Equal(t, 1, <-told)
	require.Equal(t, 0, <-told)
}
