package hob

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/ipc"
)

// arrive has a connection be welcomed and handed over; the other end is the client's.
func arrive(t *testing.T, l *ownListener) (client net.Conn) {
	t.Helper()
	require.NoError(t, l.expect())
	return add(l)
}

func add(l *ownListener) net.Conn {
	client, server := net.Pipe()
	l.add(new(ipc.Conn), &ipc.RawConn{Conn: server})
	return client
}

func hasEnded(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// TestWhoWasWelcomedIsAccepted also when the daemon began to leave between the two.
func TestWhoWasWelcomedIsAccepted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newOwnListener("/s", true)
		require.Equal(t, "/s", l.Addr().String())
		first := arrive(t, l)
		require.NoError(t, l.expect())
		l.leave()
		require.ErrorIs(t, l.expect(), errLeaving)
		type accepted struct {
			c   net.Conn
			err error
		}
		got := make(chan accepted)
		go func() {
			for {
				c, err := l.Accept()
				got <- accepted{c, err}
				if err != nil {
					return
				}
			}
		}()
		one := <-got
		require.NoError(t, one.err)
		synctest.Wait()
		select {
		case a := <-got:
			t.Fatalf("one more is coming, and Accept said %v", a.err)
		default:
		}
		second := add(l)
		two := <-got
		require.NoError(t, two.err)
		require.Equal(t, net.ErrClosed, (<-got).err)
		require.NoError(t, one.c.Close())
		require.NoError(t, two.c.Close())
		hasEnded(t, first)
		hasEnded(t, second)
		l.finish(t.Context()) // returns: nothing is left
	})
}

// TestOneThatDidNotComeIsNotWaitedFor: its client went while it was welcomed.
func TestOneThatDidNotComeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	l := newOwnListener("/s", true)
	require.NoError(t, l.expect())
	l.leave()
	l.add(new(ipc.Conn), nil)
	_, err := l.Accept()
	require.Equal(t, net.ErrClosed, err)
	l.finish(t.Context())
}

// TestClosedListenerClosesWhoWaits, and who comes later is told that there is no such protocol.
func TestClosedListenerClosesWhoWaits(t *testing.T) {
	t.Parallel()
	l := newOwnListener("/s", true)
	waiting := arrive(t, l)
	require.NoError(t, l.expect())
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	hasEnded(t, waiting)
	hasEnded(t, add(l))
	var e *Error
	require.True(t, errors.As(l.expect(), &e))
	require.Equal(t, "no_stream", e.Code)
	_, err := l.Accept()
	require.Equal(t, net.ErrClosed, err)
}

// TestGraceEnds with everything closed, and with nobody let in afterwards.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newOwnListener("/s", true)
		l.begin() // Accept is run, and does not return
		open := arrive(t, l)
		c, err := l.Accept()
		require.NoError(t, err)
		waiting := arrive(t, l)
		require.NoError(t, l.expect())
		l.leave()
		ctx, cancel := context.WithCancel(t.Context())
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			l.finish(ctx)
		}()
		synctest.Wait()
		select {
		case <-finished:
			t.Fatal("the grace is not over")
		default:
		}
		cancel()
		<-finished
		hasEnded(t, open)
		hasEnded(t, waiting)
		hasEnded(t, add(l))
		require.ErrorIs(t, c.(interface{ CloseWrite() error }).CloseWrite(), errors.ErrUnsupported)
		l.end()
	})
}
