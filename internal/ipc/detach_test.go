package ipc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// handsOver is a server that hands over each connection whose first request is "own".
func handsOver(take func(*RawConn)) ConnOptions {
	return ConnOptions{
		Last: func(r *Request) bool { return r.Method == "own" },
		Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
			r.HandOver(take)
			return "yours", nil
		},
	}
}

// TestServerHandsOverWhatWasReadAhead in both framings: what came with the request and what
// comes later, and the answer is first.
func TestServerHandsOverWhatWasReadAhead(t *testing.T) {
	t.Parallel()
	const request = `{"jsonrpc":"2.0","id":7,"method":"own"}`
	const answer = `{"id":7,"result":"yours","jsonrpc":"2.0"}`
	for name, framing := range map[string]struct{ request, answer string }{
		"lines":   {request + "\n", answer + "\n"},
		"headers": {string(appendFrame(nil, []byte(request), true)), string(appendFrame(nil, []byte(answer), true))},
	} {
		t.Run(name, func(t *testing.T) {
			taken := make(chan *RawConn, 1)
			c, p := newConn(t, handsOver(func(raw *RawConn) {
				_, _ = io.WriteString(raw, "server first\n")
				taken <- raw
			}))
			// More than the reader's buffer, and with what would be a frame, and an empty line.
			early := "\n\r\n" + request + "\n" + strings.Repeat("x", 3000)
			p.send(framing.request + early)
			raw := <-taken
			require.NotNil(t, raw)
			c.Wait()
			require.ErrorIs(t, c.Err(), ErrDetached)
			go func() {
				p.send("late")
				_ = p.CloseWrite()
			}()
			got, err := io.ReadAll(raw)
			require.NoError(t, err)
			require.Equal(t, early+"late", string(got))
			require.NoError(t, raw.CloseWrite())
			require.Equal(t, framing.answer+"server first\n", p.rest())
			require.NoError(t, raw.Close())
		})
	}
}

// TestClientDetachesWithWhatCameAlong: the other protocol's first bytes are in the same read as the answer.
func TestClientDetachesWithWhatCameAlong(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]string{"with bytes": "220 ready\r\n{}\n", "without": ""} {
		t.Run(name, func(t *testing.T) {
			c, p := newConn(t, ConnOptions{Once: true})
			answered := make(chan error, 1)
			go func() { answered <- c.Call(t.Context(), "own", nil, nil) }()
			p.line()
			p.send(`{"jsonrpc":"2.0","id":0,"result":true}` + "\n" + early)
			require.NoError(t, <-answered)
			raw, err := c.Detach()
			require.NoError(t, err)
			require.ErrorIs(t, c.Err(), ErrDetached)
			require.NoError(t, c.Close(), "which is not the connection's end")
			_, plain := raw.Plain().(*net.UnixConn)
			require.Equal(t, early == "", plain)
			p.send("more")
			got := make([]byte, len(early)+4)
			_, err = io.ReadFull(raw, got)
			require.NoError(t, err)
			require.Equal(t, early+"more", string(got))
			_, err = raw.Write([]byte("back\n"))
			require.NoError(t, err)
			require.Equal(t, "back\n", p.line())

			require.NoError(t, raw.SetReadDeadline(time.Now()))
			_, err = raw.Read(got)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			_, err = raw.SyscallConn()
			require.NoError(t, err)

			_, err = c.Detach()
			require.ErrorIs(t, err, ErrClosed, "it is handed over once")
			require.NoError(t, raw.Close())
			_, err = raw.Read(got)
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

// TestLastRequestWithoutHandOverEndsTheConnection: what follows could be anything, and is not read as JSON.
func TestLastRequestWithoutHandOverEndsTheConnection(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() error{
		"answer": nil,
		"error":  func() error { return errors.New("no") },
		"panic":  func() error { panic("no") },
	} {
		t.Run(name, func(t *testing.T) {
			taken := make(chan *RawConn, 1)
			c, p := newConn(t, ConnOptions{Last: func(*Request) bool { return true }, Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
				if end == nil {
					return "no", nil
				}
				r.HandOver(func(raw *RawConn) { taken <- raw })
				return nil, end()
			}})
			p.send(`{"id":7,"method":"own"}` + "\nGET / HTTP/1.1\r\n\r\n")
			require.Contains(t, p.line(), `"id":7`)
			c.Wait()
			require.ErrorIs(t, c.Err(), net.ErrClosed)
			if end != nil {
				require.Nil(t, <-taken)
			}
		})
	}
}

// TestOnlyTheFirstRequestCanBeTheLast: an answer that is still to come would get into the other protocol.
func TestOnlyTheFirstRequestCanBeTheLast(t *testing.T) {
	t.Parallel()
	taken := make(chan *RawConn, 1)
	c, p := newConn(t, handsOver(func(raw *RawConn) { taken <- raw }))
	for range 2 {
		p.send(`{"id":1,"method":"other"}` + "\n")
		require.Equal(t, `{"id":1,"result":"yours","jsonrpc":"2.0"}`+"\n", p.line())
		p.send(`{"id":1,"method":"own"}` + "\n")
		require.Equal(t, `{"id":1,"result":"yours","jsonrpc":"2.0"}`+"\n", p.line())
	}
	require.Empty(t, taken)
	_, err := c.Detach()
	require.ErrorContains(t, err, "it is read on")
}

// TestHandOverAndCloseRace: whoever is first, the connection is one side's, and that one closes it.
func TestHandOverAndCloseRace(t *testing.T) {
	t.Parallel()
	for range 200 {
		var all sync.WaitGroup
		taken := make(chan *RawConn, 1)
		a, b := socketpair(t)
		_, err := b.Write([]byte(`{"id":7,"method":"own"}` + "\n"))
		require.NoError(t, err)
		c := NewConn(t.Context(), a, handsOver(func(raw *RawConn) { taken <- raw }))
		all.Go(func() { _ = c.Close() })
		all.Go(func() { _ = c.Finish(t.Context()) })
		all.Wait()
		c.Wait()
		select {
		case raw := <-taken:
			if raw == nil {
				break
			}
			_, err := raw.Write([]byte("mine"))
			require.NoError(t, err, "it was handed over and nobody else closes it")
			require.NoError(t, raw.Close())
		default: // closed before it was asked
		}
		require.NoError(t, b.SetDeadline(time.Now().Add(patience)))
		_, err = io.Copy(io.Discard, b)
		require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "nobody closed it")
		require.NoError(t, b.Close())
	}
}

func TestRawConnOfAPipeHasNoHalves(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer b.Close()
	raw := &RawConn{Conn: a, ahead: bytes.Repeat([]byte("x"), 3)}
	require.Same(t, raw, raw.Plain())
	require.ErrorIs(t, raw.CloseWrite(), errors.ErrUnsupported)
	require.ErrorIs(t, raw.CloseRead(), errors.ErrUnsupported)
	_, err := raw.SyscallConn()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, raw.Close())
	_, err = raw.Read(make([]byte, 3))
	require.Error(t, err, "what was read ahead is dropped")
}

// TestDeadlinesEndWithTheConn: those of a first message and of an answer are not the other protocol's.
func TestDeadlinesEndWithTheConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		taken := make(chan *RawConn, 1)
		o := handsOver(func(raw *RawConn) { taken <- raw })
		o.FirstFrameTimeout = 10 * time.Second
		c := NewConn(t.Context(), a, o)
		r := bufio.NewReader(b)
		_, err := io.WriteString(b, `{"id":7,"method":"own"}`+"\n")
		require.NoError(t, err)
		_, err = r.ReadString('\n')
		require.NoError(t, err)
		raw := <-taken
		c.Wait()
		go func() {
			time.Sleep(time.Hour)
			_, _ = io.WriteString(b, "later\n")
		}()
		got := make([]byte, 6)
		_, err = io.ReadFull(raw, got)
		require.NoError(t, err)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(raw, "and back\n")
			sent <- err
		}()
		_, err = r.ReadString('\n')
		require.NoError(t, err)
		require.NoError(t, <-sent)
		require.NoError(t, raw.Close())
		require.NoError(t, b.Close())
	})
}
