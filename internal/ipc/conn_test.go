package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestClientBytes(t *testing.T) {
	t.Parallel()
	c, p := newConn(t, ConnOptions{})
	type params struct {
		B int    `json:"b"`
		A string `json:"a"`
	}
	answered := make(chan error, 1)
	call := func(params any, result any) { answered <- c.Call(t.Context(), "hob.hello", params, result) }

	var got struct{ OK bool }
	go call(params{1, "x"}, &got)
	require.Equal(t, `{"id":0,"jsonrpc":"2.0","method":"hob.hello","params":{"b":1,"a":"x"}}`+"\n", p.line())
	p.send(`{"jsonrpc":"2.0","id":0,"result":{"ok":true,"new":1}}` + "\n")
	require.NoError(t, <-answered)
	require.True(t, got.OK)

	go call(nil, nil)
	require.Equal(t, `{"id":1,"jsonrpc":"2.0","method":"hob.hello"}`+"\n", p.line())
	p.send(`{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"not running","data":{"code":"not_running","hint":"start it"}}}` + "\n")
	require.Equal(t, &Error{Code: -32000, Message: "not running", Data: &ErrorData{Code: "not_running", Hint: "start it"}}, <-answered)

	require.NoError(t, c.Notify(t.Context(), "n", params{2, "y"}))
	require.Equal(t, `{"jsonrpc":"2.0","method":"n","params":{"b":2,"a":"y"}}`+"\n", p.line())
}

func TestServerErrorBytes(t *testing.T) {
	t.Parallel()
	fail := &Error{Code: -32001, Message: "no such service: web", Data: &ErrorData{Code: "no_such_service", Hint: "hob ps"}}
	_, p := newConn(t, ConnOptions{Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
		switch r.Method {
		case "own":
			return nil, fmt.Errorf("start web: %w", fail)
		case "other":
			return nil, io.ErrUnexpectedEOF
		}
		return make(chan int), nil
	}})
	for method, want := range map[string]string{
		"own":   `{"code":-32001,"message":"no such service: web","data":{"code":"no_such_service","hint":"hob ps"}}`,
		"other": `{"code":-32000,"message":"unexpected EOF","data":{"code":"failed"}}`,
		"chan":  `{"code":-32603,"message":"encode result: json: unsupported type: chan int","data":{"code":"failed"}}`,
	} {
		p.send(`{"id":1,"method":"` + method + `"}` + "\n")
		require.Equal(t, `{"id":1,"error":`+want+`,"jsonrpc":"2.0"}`+"\n", p.line())
	}
}

func TestClientRefusesRequestsAndTakesNotificationsInOrder(t *testing.T) {
	t.Parallel()
	got := make(chan string, 100)
	_, p := newConn(t, ConnOptions{Notify: func(method string, params json.RawMessage) { got <- method + string(params) }})
	for i := range 100 {
		p.send(fmt.Sprintf(`{"method":"n","params":[%d]}`+"\n", i))
	}
	for i := range 100 {
		require.Equal(t, fmt.Sprintf("n[%d]", i), <-got)
	}
	p.send(`{"id":5,"method":"m"}` + "\n")
	require.Equal(t, `{"id":5,"error":{"code":-32601,"message":"no such method: m","data":{"code":"no_such_method"}},"jsonrpc":"2.0"}`+"\n", p.line())
}

func TestRepliesComeInAnyOrder(t *testing.T) {
	t.Parallel()
	const n = 20
	var all sync.WaitGroup
	all.Add(n)
	a, b := socketpair(t)
	server := NewConn(t.Context(), a, ConnOptions{Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
		all.Done()
		all.Wait() // none is answered before all were asked
		return r.Params, nil
	}})
	client := NewConn(t.Context(), b, ConnOptions{})
	answers := make(chan error, n)
	for i := range n {
		go func() {
			var back []int
			err := client.Call(t.Context(), "m", []int{i}, &back)
			if err == nil && back[0] != i {
				err = fmt.Errorf("asked %d, got %d", i, back[0])
			}
			answers <- err
		}()
	}
	for range n {
		require.NoError(t, <-answers)
	}
	require.NoError(t, client.Close())
	require.NoError(t, client.Close(), "twice is once")
	client.Wait()
	server.Wait()
}

func TestCallOnDeadConnectionSaysWhy(t *testing.T) {
	t.Parallel()
	refused := &Error{Code: CodeInvalidRequest, Message: "too many connections"}
	for name, c := range map[string]struct {
		kill func(c *Conn, p *peer)
		want []error
		text string
	}{
		"peer closes":       {func(_ *Conn, p *peer) { p.line(); _ = p.Close() }, []error{io.EOF}, "call m: connection closed: EOF"},
		"peer closes early": {func(_ *Conn, p *peer) { awaitByte(p); _ = p.Close() }, []error{unix.ECONNRESET}, "call m: connection closed: connection reset by peer"},
		"half an answer": {func(_ *Conn, p *peer) { p.line(); p.send(`{"id":0,`); _ = p.Close() }, []error{io.ErrUnexpectedEOF},
			"call m: connection closed: unexpected EOF"},
		"junk":    {func(_ *Conn, p *peer) { p.line(); p.send("junk\n") }, nil, "call m: connection closed: parse error"},
		"closed":  {func(c *Conn, p *peer) { p.line(); _ = c.Close() }, []error{net.ErrClosed}, "call m: connection closed"},
		"refused": {func(_ *Conn, p *peer) { p.line(); p.send(refusedLine) }, []error{}, "call m: connection closed: too many connections"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, p := newConn(t, ConnOptions{})
			failed := make(chan error, 1)
			go func() { failed <- conn.Call(t.Context(), "m", nil, nil) }()
			c.kill(conn, p)
			for range 2 { // while it dies, and once it is dead
				err := <-failed
				require.ErrorIs(t, err, ErrClosed)
				require.ErrorContains(t, err, c.text)
				for _, w := range c.want {
					require.ErrorIs(t, err, w)
				}
				if e, ok := errors.AsType[*Error](err); name == "refused" {
					require.True(t, ok)
					require.Equal(t, refused, e)
				}
				failed <- conn.Call(t.Context(), "m", nil, nil)
			}
			require.ErrorIs(t, conn.Err(), ErrClosed)
			require.ErrorIs(t, conn.Notify(t.Context(), "n", nil), ErrClosed)
		})
	}
}

const refusedLine = `{"id":null,"error":{"code":-32600,"message":"too many connections"},"jsonrpc":"2.0"}` + "\n"

// awaitByte returns when something is there, unread: closing then is a reset.
func awaitByte(p *peer) {
	rc, err := p.SyscallConn()
	require.NoError(p.t, err)
	require.NoError(p.t, rc.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err == nil
	}))
}

func TestRefusalIsHeardEvenIfTheRequestCannotBeSent(t *testing.T) {
	t.Parallel()
	a, b := socketpair(t)
	_, err := io.WriteString(b, refusedLine)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	c := NewConn(t.Context(), a, ConnOptions{})
	defer c.Wait()
	err = c.Call(t.Context(), "m", nil, nil)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorContains(t, err, "too many connections")
}

func TestCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, p := newConn(t, ConnOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Call(ctx, "m", nil, nil) }()
	p.line()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, c.Call(ctx, "m", nil, nil), context.Canceled)

	p.send(`{"id":0,"result":1}` + "\n") // late: dropped
	go func() { ended <- c.Call(t.Context(), "m", nil, nil) }()
	p.line()
	p.send(`{"id":1,"result":1}` + "\n")
	require.NoError(t, <-ended)
}

func TestCallEndsWithItsContextWhileThePeerDoesNotRead(t *testing.T) {
	t.Parallel()
	c, p := newConn(t, ConnOptions{})
	require.NoError(t, c.Notify(t.Context(), "small", nil))
	p.line()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.Call(ctx, "m", []string{string(make([]byte, 2<<20))}, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	// What was to be sent is still being made, perhaps: other tests look at the memory of the process.
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return !stackHas("(*Conn).send") }, patience, time.Millisecond)
}

func TestHandlerContextEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	started := make(chan struct{}, 1)
	o := ConnOptions{Handler: func(ctx context.Context, _ *Conn, _ *Request) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for name, end := range map[string]func(c *Conn, p *peer, cancel func()){
		"peer":    func(_ *Conn, p *peer, _ func()) { _ = p.Close() },
		"close":   func(c *Conn, _ *peer, _ func()) { _ = c.Close() },
		"context": func(_ *Conn, _ *peer, cancel func()) { cancel() },
		"junk":    func(_ *Conn, p *peer, _ func()) { p.send("junk\n") },
	} {
		a, b := socketpair(t)
		ctx, cancel := context.WithCancel(context.Background())
		c := NewConn(ctx, a, o)
		p := &peer{UnixConn: b, t: t}
		p.send(`{"id":1,"method":"m"}` + "\n")
		<-started
		end(c, p, cancel)
		gone := make(chan struct{})
		go func() { c.Wait(); close(gone) }()
		within(t, name, gone)
		cancel()
	}
}

func TestRequestsBeyondTheLimitWait(t *testing.T) {
	t.Parallel()
	running, leave := make(chan struct{}, 10), make(chan struct{})
	var n atomic.Int32
	_, p := newConn(t, ConnOptions{MaxInFlight: 2, Handler: func(context.Context, *Conn, *Request) (any, error) {
		if n.Add(1) > 2 {
			t.Error("a third one runs")
		}
		defer n.Add(-1)
		running <- struct{}{}
		<-leave
		return nil, nil
	}})
	for i := range 5 {
		p.send(fmt.Sprintf(`{"id":%d,"method":"m"}`+"\n", i))
	}
	for i := range 5 {
		<-running
		if i >= 1 {
			leave <- struct{}{}
			p.line()
		}
	}
	leave <- struct{}{}
	p.line()
}

// Not parallel: it looks for a goroutine.
func TestSaturatedConnNoticesHangup(t *testing.T) {
	for _, unread := range []string{"", `{"id":3,"method":"m"}` + "\n"} {
		c, p := newConn(t, ConnOptions{MaxInFlight: 1, Handler: func(ctx context.Context, _ *Conn, _ *Request) (any, error) {
			<-ctx.Done()
			return nil, nil
		}})
		p.send(`{"id":1,"method":"m"}` + "\n" + `{"id":2,"method":"m"}` + "\n")
		// Wait for the watch: the read loop holds the second request and reads no more.
		require.Eventually(t, func() bool { return stackHas("watchHangup") }, patience, time.Millisecond)
		p.send(unread)
		require.NoError(t, c.Err())
		require.NoError(t, p.Close())
		gone := make(chan struct{})
		go func() { c.Wait(); close(gone) }()
		within(t, "end of the handlers", gone)
		require.ErrorIs(t, c.Err(), ErrClosed)
	}
}

func stackHas(s string) bool {
	buf := make([]byte, 1<<20)
	return bytes.Contains(buf[:runtime.Stack(buf, true)], []byte(s))
}

func TestPanicIsAnsweredAndReported(t *testing.T) {
	t.Parallel()
	panics := make(chan any, 1)
	_, p := newConn(t, ConnOptions{
		OnPanic: func(v any, stack []byte) {
			if len(stack) > 0 {
				panics <- v
			}
		},
		Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
			switch r.Method {
			case "panic":
				panic("boom")
			case "nil":
				return nil, (*Error)(nil)
			case "marshal":
				return badJSON{}, nil
			case "exit":
				runtime.Goexit()
			}
			return nil, nil
		},
	})
	for _, m := range []string{"panic", "nil", "marshal", "exit"} {
		p.send(`{"id":1,"method":"` + m + `"}` + "\n")
		require.Equal(t, `{"id":1,"error":{"code":-32603,"message":"internal error","data":{"code":"failed"}},"jsonrpc":"2.0"}`+"\n", p.line(), m)
		if m != "exit" {
			require.NotNil(t, <-panics)
		}
	}
	p.send(`{"id":2,"method":"fine"}` + "\n")
	require.Equal(t, `{"id":2,"result":null,"jsonrpc":"2.0"}`+"\n", p.line())
}

type badJSON struct{}

func (badJSON) MarshalJSON() ([]byte, error) { panic("marshal") }

// broken can't be written to.
type broken struct{ net.Conn }

func (broken) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ENOSPC)}
}

// TestFailedWriteIsTheReason: whoever calls is told at once what failed here, and not that the other end is gone, whose last words are waited for.
func TestFailedWriteIsTheReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c, began := NewConn(t.Context(), broken{a}, ConnOptions{}), time.Now()
		err := c.Call(t.Context(), "x", nil, nil)
		require.ErrorIs(t, err, ErrClosed)
		errno, ours := Fault(err)
		require.True(t, ours)
		require.Equal(t, syscall.ENOSPC, errno)
		require.Zero(t, time.Since(began), "the clock is the bubble's")
		<-c.Done()
		require.ErrorIs(t, c.Err(), syscall.ENOSPC)
	})

	a, b := unixPair(t)
	c := NewConn(t.Context(), a, ConnOptions{})
	require.NoError(t, b.Close())
	err := c.Call(t.Context(), "x", nil, nil)
	require.ErrorIs(t, err, ErrClosed)
	_, ours := Fault(err)
	require.False(t, ours, "%v", err)
}
