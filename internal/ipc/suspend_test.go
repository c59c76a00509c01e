package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unixPair gives the two ends of a connection that has a descriptor.
func unixPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	dir := openDir(t, t.TempDir())
	l, err := Listen(dir, "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept(nil)
		if err == nil {
			accepted <- c
		}
	}()
	client, err = Connect(t.Context(), dir, l.Name())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client, <-accepted
}

// passOn does in one process what an exec does with a suspended connection: descriptor and state go on, all else is lost.
func passOn(t *testing.T, c *Conn, s *Suspended, h Handler) *Conn {
	t.Helper()
	f, err := c.File()
	require.NoError(t, err)
	data, err := json.Marshal(s)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	var got Suspended
	require.NoError(t, json.Unmarshal(data, &got))
	nc, err := net.FileConn(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return NewConn(context.Background(), nc, ConnOptions{Handler: h, Resume: &got, FirstFrameTimeout: patience})
}

func suspended(t *testing.T, c *Conn) *Suspended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := c.Suspend(ctx)
	require.NoError(t, err)
	return s
}

// TestSuspendedConnLosesNothing: whatever was sent is answered, in whichever state the connection was passed on.
func TestSuspendedConnLosesNothing(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]func(n int) string{
		"lines": func(n int) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"echo","params":[%d]}`+"\n", n, n)
		},
		"headers": func(n int) string {
			body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"echo","params":[%d]}`, n, n)
			return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := unixPair(t)
			c := NewConn(context.Background(), server, ConnOptions{Handler: echo, FirstFrameTimeout: patience})
			c = passOn(t, c, suspended(t, c), echo) // nothing was said yet
			answers := bufio.NewReader(client)
			for n := range 20 {
				// Some frames, the last of them in two halves: half is sent while the connection is being suspended.
				all := frame(3*n) + frame(3*n+1)
				last := frame(3*n + 2)
				_, err := client.Write([]byte(all + last[:len(last)/2]))
				require.NoError(t, err)
				parked := c.Hush()
				_, err = client.Write([]byte(last[len(last)/2:]))
				require.NoError(t, err)
				<-parked
				c = passOn(t, c, suspended(t, c), echo)
				got := map[string]bool{}
				for len(got) < 3 {
					line, err := answers.ReadString('}')
					require.NoError(t, err)
					got[line[strings.Index(line, `"result"`):]] = true
				}
				for i := range 3 {
					require.Contains(t, got, fmt.Sprintf(`"result":[%d],"jsonrpc":"2.0"}`, 3*n+i))
				}
			}
			require.NoError(t, c.Close())
			c.Wait()
		})
	}
}

// TestCallsSeeNothingOfASuspension: a client that calls all the time, on a connection that is passed on all the time.
func TestCallsSeeNothingOfASuspension(t *testing.T) {
	t.Parallel()
	client, server := unixPair(t)
	var handled atomic.Int64
	h := func(_ context.Context, _ *Conn, r *Request) (any, error) {
		handled.Add(1)
		return r.Params, nil
	}
	c := NewConn(context.Background(), server, ConnOptions{Handler: h})
	peer := NewConn(context.Background(), client, ConnOptions{})
	defer peer.Close()
	var stop atomic.Bool
	var asked atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				n := asked.Add(1)
				var got []int64
				if err := peer.Call(t.Context(), "echo", []int64{n}, &got); err != nil || len(got) != 1 || got[0] != n {
					t.Errorf("call %d: %v %v", n, got, err)
					return
				}
			}
		})
	}
	for n := 0; n < 200 || asked.Load() < 400; n++ {
		if t.Failed() {
			break
		}
		if s := suspended(t, c); handled.Load()%2 == 0 {
			c = passOn(t, c, s, h)
		} else {
			c.Resume()
		}
	}
	stop.Store(true)
	wg.Wait()
	require.Equal(t, asked.Load(), handled.Load())
	require.NoError(t, c.Close())
}

// TestUnsettledRequestsAreHandledAgain: by the next process, or by this one when it goes on.
func TestUnsettledRequestsAreHandledAgain(t *testing.T) {
	t.Parallel()
	client, server := unixPair(t)
	began, yield := make(chan struct{}), make(chan struct{})
	waits := func(context.Context, *Conn, *Request) (any, error) {
		began <- struct{}{}
		<-yield
		return nil, fmt.Errorf("wait: %w", ErrAgain)
	}
	c := NewConn(context.Background(), server, ConnOptions{Handler: waits})
	peer := NewConn(context.Background(), client, ConnOptions{})
	defer peer.Close()
	answer := make(chan string, 1)
	go func() {
		var got string
		if err := peer.Call(context.Background(), "wait", []string{"x"}, &got); err != nil {
			got = err.Error()
		}
		answer <- got
	}()
	<-began
	yield2 := yield
	<-c.Hush()
	close(yield2)
	require.Len(t, suspended(t, c).Again, 1)
	yield = make(chan struct{})
	c.Resume() // this one goes on: it is asked again
	<-began
	c.Hush()
	close(yield)
	s := suspended(t, c)
	require.Equal(t, "wait", s.Again[0].Method)
	require.Empty(t, answer)
	c = passOn(t, c, s, func(_ context.Context, _ *Conn, r *Request) (any, error) { return r.Method + string(r.Params), nil })
	require.Equal(t, `wait["x"]`, <-answer)
	require.NoError(t, c.Close())
}

// TestSuspendGivesUp: a handler that does not end is not waited for, and everything goes on.
func TestSuspendGivesUp(t *testing.T) {
	t.Parallel()
	client, server := unixPair(t)
	began, end := make(chan struct{}), make(chan struct{})
	c := NewConn(context.Background(), server, ConnOptions{Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
		if r.Method == "slow" {
			close(began)
			<-end
		}
		return r.Method, nil
	}})
	peer := NewConn(context.Background(), client, ConnOptions{})
	defer peer.Close()
	slow := make(chan error, 1)
	go func() { slow <- peer.Call(context.Background(), "slow", nil, nil) }()
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := c.Suspend(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var got string
	require.NoError(t, peer.Call(t.Context(), "quick", nil, &got))
	close(end)
	require.NoError(t, <-slow)
	// One that ends is no obstacle either, nor is one whose peer has gone.
	require.NoError(t, peer.Close())
	<-c.Done()
	_, err = c.Suspend(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	require.True(t, errors.Is(c.Err(), ErrClosed))
}

// TestWhatWaitsForItsTurnIsPassedOn: a request that was put off, and is put off again before it was its turn, is in nobody's hands meanwhile.
func TestWhatWaitsForItsTurnIsPassedOn(t *testing.T) {
	t.Parallel()
	client, server := unixPair(t)
	var handled atomic.Int32
	c := NewConn(context.Background(), server, ConnOptions{MaxInFlight: 1, Handler: func(context.Context, *Conn, *Request) (any, error) {
		handled.Add(1)
		return nil, ErrAgain
	}})
	defer c.Close()
	c.Hush()
	c.amu.Lock()
	c.again = []*Unsettled{{Method: "later", ID: json.RawMessage("7")}}
	c.amu.Unlock()
	for range 100 {
		c.slots <- struct{}{} // something else is being handled
		c.Resume()
		c.Hush()
		<-c.slots
		s := suspended(t, c)
		require.Len(t, s.Again, 1)
		require.Equal(t, "later", s.Again[0].Method)
		require.Zero(t, handled.Load())
	}
	require.NoError(t, client.Close())
}

// TestAllThatWasPutOffIsAnswered by the Conn that goes on, each once.
func TestAllThatWasPutOffIsAnswered(t *testing.T) {
	t.Parallel()
	client, server := unixPair(t)
	defer client.Close()
	const requests = 50
	at := &Suspended{Spoken: true}
	for i := range requests {
		at.Again = append(at.Again, Unsettled{ID: json.RawMessage(strconv.Itoa(i)), Method: "echo", Params: json.RawMessage("[7]")})
	}
	c := NewConn(context.Background(), server, ConnOptions{MaxInFlight: 4, Handler: echo, Resume: at})
	answers := bufio.NewReader(client)
	seen := map[int]bool{}
	for range requests {
		line, err := answers.ReadBytes('\n')
		require.NoError(t, err)
		var answer struct{ ID int }
		require.NoError(t, json.Unmarshal(line, &answer))
		require.False(t, seen[answer.ID])
		seen[answer.ID] = true
	}
	require.NoError(t, c.Finish(t.Context()))
	_, err := answers.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

// TestCloseIsSeenAtOnce, also while a child that is being forked has the descriptor.
func TestCloseIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	client, server := unixPair(t)
	forked, err := client.(*net.UnixConn).File()
	require.NoError(t, err)
	defer forked.Close()
	c := NewConn(context.Background(), server, ConnOptions{Handler: echo})
	defer c.Close()
	require.False(t, c.HungUp())
	peer := NewConn(context.Background(), client, ConnOptions{})
	require.NoError(t, peer.Close())
	require.True(t, c.HungUp())
	<-c.Done()
}

// TestASuspendedConnCanBeClosed: nothing of it is left then.
func TestASuspendedConnCanBeClosed(t *testing.T) {
	t.Parallel()
	_, server := unixPair(t)
	c := NewConn(context.Background(), server, ConnOptions{Handler: echo})
	suspended(t, c)
	require.NoError(t, c.Close())
	c.Wait()
}

// TestAListenerIsPassedOn: who connects while nobody accepts waits.
func TestAListenerIsPassedOn(t *testing.T) {
	t.Parallel()
	dir := openDir(t, t.TempDir())
	l, err := Listen(dir, "s")
	require.NoError(t, err)
	require.NoError(t, l.Publish())
	serve := func(l *Listener) {
		for {
			c, err := l.Accept(nil)
			if err != nil {
				return
			}
			NewConn(context.Background(), c, ConnOptions{Handler: echo})
		}
	}
	go serve(l)
	var stop atomic.Bool
	var asked atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				nc, err := Connect(context.Background(), dir, "s")
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				c := NewConn(context.Background(), nc, ConnOptions{})
				var got []int
				if err := c.Call(context.Background(), "echo", []int{7}, &got); err != nil {
					t.Errorf("call: %v", err)
				}
				_ = c.Close()
				asked.Add(1)
			}
		})
	}
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		require.NoError(t, l.Suspend(ctx))
		cancel()
		f, err := l.File()
		require.NoError(t, err)
		id := l.ID()
		require.NoError(t, l.Close())
		l, err = Adopt(dir, "s", f, id)
		require.NoError(t, err)
		require.True(t, l.Published())
		go serve(l)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d calls", asked.Load())
	require.NoError(t, l.Close())
	_, err = os.Stat(dir.Name() + "/s")
	require.NoError(t, err)
}
