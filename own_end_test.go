package hob_test

import (
	"bufio"
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob"
)

// TestStreamKeepsTheDaemon from leaving for being idle, and lets it go with the last byte.
func TestStreamKeepsTheDaemon(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "echo/100ms")
	c := dialConn(t, inst, nil)
	for range 10 { // a daemon that would leave has left by then
		time.Sleep(100 * time.Millisecond)
		_, err := hob.Probe(t.Context(), inst)
		require.NoError(t, err)
		echoes(t, c, "still there")
	}
	c.Close()
	gone(t, inst)
}

// TestStreamWithoutALeaseKeepsNoDaemon, as for calls: it is closed when the daemon leaves.
func TestStreamWithoutALeaseKeepsNoDaemon(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "echo/100ms")
	first := dialConn(t, inst, nil)
	c := dialConn(t, inst, &hob.DialOptions{NoLease: true})
	echoes(t, c, "no lease")
	first.Close()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	gone(t, inst)
}

func gone(t *testing.T, inst hob.Instance) {
	t.Helper()
	eventually(t, "the daemon has left", func() bool {
		_, err := hob.Probe(t.Context(), inst)
		return codeOf(err) == "not_running"
	})
}

// TestStreamUnderWayMayEnd: what it says after Stop still gets to its client.
func TestStreamUnderWayMayEnd(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "last words")
	c := dialConn(t, inst, nil)
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
	stop(t, inst)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "last words\n", string(rest))
}

// TestWhatWasNotSentWasNotDone: a client that was welcomed and calls too late is told that nothing was done.
func TestWhatWasNotSentWasNotDone(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "calls only")
	c, err := hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	defer c.Close()
	stop(t, inst)
	<-c.Done()
	require.Equal(t, "draining", codeOf(c.Call(t.Context(), "census", nil, nil)))
}

// TestStreamThatDoesNotEndIsClosed: it holds up no stop for ever.
func TestStreamThatDoesNotEndIsClosed(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "stubborn")
	c := dialConn(t, inst, nil)
	r := bufio.NewReader(c)
	_, err := r.ReadString('\n')
	require.NoError(t, err)
	stop(t, inst)
	closedByPeer(t, r)
}

// TestLeavingDaemonTakesNoStream: a hello that comes while it drains is answered so and the
// connection closed, and whoever dials gets the next daemon.
func TestLeavingDaemonTakesNoStream(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "draining")
	under := dialConn(t, inst, nil)
	client, err := hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	defer client.Close()
	old := client.Welcome().Pid
	late := raw(t, inst)
	first, err := io.WriteString(late, "\n") // it is connected, and has not said hello
	require.NoError(t, err)
	require.Equal(t, 1, first)

	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- client.Stop(ctx, false)
	}()
	eventually(t, "it drains", func() bool {
		var st hob.Status
		require.NoError(t, client.Call(t.Context(), "hob.status", nil, &st))
		return st.State == "draining"
	})
	_, err = io.WriteString(late, streamHello+"\nGET / HTTP/1.1\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(late)
	result := readFrame(t, r, false)["result"].(map[string]any)
	require.Contains(t, result, "draining")
	closedByPeer(t, r)

	next := make(chan error, 1)
	go func() {
		c, err := hob.DialConn(context.Background(), inst, nil)
		if err == nil {
			_, err = io.WriteString(c, "\n")
			c.Close()
		}
		next <- err
	}()
	_, err = io.WriteString(under, "the stream under way is still served\n")
	require.NoError(t, err)
	require.NoError(t, <-stopped)
	require.NoError(t, <-next)
	again, err := hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	defer again.Close()
	require.NotEqual(t, old, again.Welcome().Pid)
}
