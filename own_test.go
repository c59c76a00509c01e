package hob_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob"
)

// dialConn connects; nothing on the connection may take longer than patience.
func dialConn(t *testing.T, inst hob.Instance, o *hob.DialOptions) net.Conn {
	t.Helper()
	c, err := hob.DialConn(t.Context(), inst, o)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { c.Close() })
	return c
}

// echoes says that what is written comes back.
func echoes(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

// raw connects to the daemon's socket as a client of another language does.
func raw(t *testing.T, inst hob.Instance) *net.UnixConn {
	t.Helper()
	st, err := hob.Probe(t.Context(), inst)
	require.NoError(t, err)
	c, err := net.Dial("unix", st.Socket)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

const streamHello = `{"jsonrpc":"2.0","id":1,"method":"hob.hello","params":{"protocol":[1,1],"lease":true,"stream":true}}`

func framed(message string, headers bool) string {
	if headers {
		return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(message), message)
	}
	return message + "\n"
}

// readFrame reads an answer in either framing, and not a byte more.
func readFrame(t *testing.T, r *bufio.Reader, headers bool) map[string]any {
	t.Helper()
	var text []byte
	line, err := r.ReadString('\n')
	require.NoError(t, err, "%q", line)
	if text = []byte(line); headers {
		var n int
		_, err = fmt.Sscanf(line, "Content-Length: %d", &n)
		require.NoError(t, err)
		_, err = r.Discard(2)
		require.NoError(t, err)
		text = make([]byte, n)
		_, err = io.ReadFull(r, text)
		require.NoError(t, err)
	}
	var v map[string]any
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

// TestDialConnIsAUnixSocket: on the connection that the daemon was born with, and on any later one.
func TestDialConnIsAUnixSocket(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "echo")
	for _, o := range []*hob.DialOptions{nil, {NoSpawn: true}, {NoSpawn: true, NoLease: true}} {
		c := dialConn(t, inst, o)
		require.IsType(t, &net.UnixConn{}, c)
		echoes(t, c, "hello\n")

		require.NoError(t, c.SetReadDeadline(time.Now()))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)), "and it goes on")
		_, err = c.(syscall.Conn).SyscallConn()
		require.NoError(t, err)

		// The daemon reads our end and can still write.
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(big)
			if err == nil {
				err = c.(interface{ CloseWrite() error }).CloseWrite()
			}
			sent <- err
		}()
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.NoError(t, <-sent)
		require.True(t, bytes.Equal(big, got), "4 MiB come back as they were")
	}
}

func TestNothingSentEarlyIsLost(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "echo")
	dialConn(t, inst, nil)
	for _, headers := range []bool{false, true} {
		c := raw(t, inst)
		early := "\n\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"hob.stop\"}\n" + strings.Repeat("early ", 20_000)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, framed(streamHello, headers)+early)
			if err == nil {
				err = c.CloseWrite()
			}
			sent <- err
		}()
		r := bufio.NewReader(c)
		welcome := readFrame(t, r, headers)["result"].(map[string]any)["welcome"].(map[string]any)
		require.Equal(t, true, welcome["stream"])
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, <-sent)
		require.Equal(t, early, string(got))
	}
}

func TestServerMaySpeakFirst(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "greeting")
	for range 50 { // some of which read the greeting together with the welcome
		c := dialConn(t, inst, nil)
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "220 ready\r\n", line)
		require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Empty(t, rest)
		c.Close()
	}
}

// TestHTTPAndCallsOnOneSocket: Handler and Accept serve together, and a request under way when the
// daemon is told to stop is answered.
func TestHTTPAndCallsOnOneSocket(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "http")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return hob.DialConn(ctx, inst, nil)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	calls, err := hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	defer calls.Close()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			answer, err := client.Post("http://daemon/path", "text/plain", strings.NewReader(fmt.Sprint("body", i)))
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if want := fmt.Sprintf("POST /path body%d %d", i, calls.Welcome().Pid); err != nil || string(body) != want {
				t.Errorf("%q, not %q: %v", body, want, err)
			}
		})
		all.Go(func() {
			var back string
			if err := calls.Call(t.Context(), "echo", "x", &back); err != nil || back != "x" {
				t.Errorf("%q: %v", back, err)
			}
		})
	}
	all.Wait()
}

func TestConnectionsWaitForAccept(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "slow")
	echoes(t, dialConn(t, inst, nil), "early")
}

// TestDaemonWithoutAcceptSaysSo to a client of this package and to any other, and closes.
func TestDaemonWithoutAcceptSaysSo(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"calls only", "one", "closes"} {
		inst := newInstance(t, role)
		if role == "one" {
			first := dialConn(t, inst, nil)
			echoes(t, first, "the only one")
			defer echoes(t, first, "which lives on")
			eventually(t, "Accept has returned", func() bool {
				c, err := hob.DialConn(t.Context(), inst, nil)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
		}
		if role == "closes" {
			eventually(t, "l is closed", func() bool {
				c, err := hob.DialConn(t.Context(), inst, nil)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
		}
		for range 2 { // born with it, then connected
			_, err := hob.DialConn(t.Context(), inst, nil)
			require.Equal(t, "no_stream", codeOf(err), "%v", err)
			require.ErrorContains(t, err, "it answers JSON-RPC only")
		}
		for _, headers := range []bool{false, true} {
			c := raw(t, inst)
			_, err := io.WriteString(c, framed(streamHello, headers)+"GET / HTTP/1.1\r\n\r\n")
			require.NoError(t, err)
			r := bufio.NewReader(c)
			answer := readFrame(t, r, headers)["error"].(map[string]any)
			require.Equal(t, "no_stream", answer["data"].(map[string]any)["code"])
			closedByPeer(t, r)
		}
		calls, err := hob.Dial(t.Context(), inst, nil)
		require.NoError(t, err)
		require.NoError(t, calls.Call(t.Context(), "echo", 1, nil), "calls are answered all the same")
		calls.Close()
	}
}

// closedByPeer reads to the end: an end of file, or a reset where it had not read everything.
func closedByPeer(t *testing.T, r io.Reader) {
	t.Helper()
	rest, err := io.ReadAll(r)
	require.False(t, os.IsTimeout(err), "not closed")
	require.Empty(t, rest)
}

func TestStreamHelloHasToComeFirst(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "echo")
	dialConn(t, inst, nil)
	c := raw(t, inst)
	r := bufio.NewReader(c)
	_, err := io.WriteString(c, `{"jsonrpc":"2.0","id":1,"method":"hob.status"}`+"\n")
	require.NoError(t, err)
	readFrame(t, r, false)
	for range 2 {
		_, err = io.WriteString(c, streamHello+"\n")
		require.NoError(t, err)
		e := readFrame(t, r, false)["error"].(map[string]any)
		require.Equal(t, "usage", e["data"].(map[string]any)["code"])
	}
	// A notification has no answer after which the other protocol could begin.
	c = raw(t, inst)
	r = bufio.NewReader(c)
	_, err = io.WriteString(c, strings.Replace(streamHello, `"id":1,`, "", 1)+"\n"+`{"jsonrpc":"2.0","id":7,"method":"echo","params":3}`+"\n")
	require.NoError(t, err)
	require.EqualValues(t, 3, readFrame(t, r, false)["result"])
}

func TestNotifyIsNotForDialConn(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "echo")
	_, err := hob.DialConn(t.Context(), inst, &hob.DialOptions{Notify: func(string, json.RawMessage) {}})
	require.Equal(t, "usage", codeOf(err))
	_, err = hob.DialConn(t.Context(), inst, &hob.DialOptions{NoSpawn: true})
	require.Equal(t, "not_running", codeOf(err), "%v", err)
}

func TestNoHandlerHasNoMethods(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "greeting")
	c, err := hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "no_such_method", codeOf(c.Call(t.Context(), "echo", nil, nil)))
	require.NoError(t, c.Call(t.Context(), "hob.status", nil, nil))
}

// TestManyStreamsLeaveNothing: 200 at once, each counted; and afterwards neither side has a
// descriptor or a goroutine more than before.
func TestManyStreamsLeaveNothing(t *testing.T) {
	t.Parallel()
	const streams = 200
	inst := newInstance(t, "echo")
	c, err := hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	defer c.Close()
	status := func() (st hob.Status, n count) {
		require.NoError(t, c.Call(t.Context(), "hob.status", nil, &st))
		require.NoError(t, c.Call(t.Context(), "census", nil, &n))
		return st, n
	}
	_, before := status()
	var opened, all sync.WaitGroup
	opened.Add(streams)
	end := make(chan struct{})
	for i := range streams {
		all.Go(func() {
			own, err := hob.DialConn(t.Context(), inst, &hob.DialOptions{NoSpawn: true})
			opened.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer own.Close()
			text := strings.Repeat(fmt.Sprint(i, " "), 1000)
			go func() { _, _ = io.WriteString(own, text) }()
			got := make([]byte, len(text))
			if _, err := io.ReadFull(own, got); err != nil || string(got) != text {
				t.Errorf("stream %d got another's bytes: %v", i, err)
			}
			<-end
		})
	}
	opened.Wait()
	st, _ := status()
	require.Equal(t, streams+1, st.Connections)
	close(end)
	all.Wait()
	eventually(t, "everything is given back", func() bool {
		st, now := status()
		// What watches the place may have been started, but not have begun, when it was counted first.
		return st.Connections == 1 && now.Files <= before.Files+1 && now.Goroutines <= before.Goroutines+1
	})
}

// TestNewerClientsOwnProtocolIsNotDisturbed: the daemon is replaced by what is said on another connection.
func TestNewerClientsOwnProtocolIsNotDisturbed(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "versioned")
	for _, build := range []string{"v1.0.0", "v2.0.0"} {
		require.NoError(t, os.WriteFile(filepath.Join(inst.Dir, "version"), []byte(build), 0o600))
		c := dialConn(t, inst, &hob.DialOptions{Build: build})
		echoes(t, c, build)
		st, err := hob.Probe(t.Context(), inst)
		require.NoError(t, err)
		require.Equal(t, build, st.Version)
		require.NoError(t, c.Close())
		eventually(t, "nobody is connected", func() bool {
			st, err := hob.Probe(t.Context(), inst)
			return err == nil && st.Connections <= 1
		})
	}
	heard, err := os.ReadFile(filepath.Join(inst.Dir, "heard"))
	require.NoError(t, err)
	require.Equal(t, "v1.0.0v2.0.0", string(heard))
}

// TestStreamsAreCapped as other connections are; those that were there first are not cut.
func TestStreamsAreCapped(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "crowded")
	var in []net.Conn
	refused := 0
	for range crowd + 5 {
		c, err := hob.DialConn(t.Context(), inst, nil)
		if err != nil {
			require.Equal(t, "lost", codeOf(err), "%v", err)
			refused++
			continue
		}
		defer c.Close()
		in = append(in, c)
	}
	require.GreaterOrEqual(t, refused, 5)
	require.LessOrEqual(t, len(in), crowd)
	for _, c := range in {
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		echoes(t, c, "here")
	}
	for _, c := range in[:5] {
		c.Close()
	}
	eventually(t, "there is room again", func() bool {
		c, err := hob.Dial(t.Context(), inst, nil)
		if err != nil {
			return false
		}
		defer c.Close()
		var st hob.Status
		require.NoError(t, c.Call(t.Context(), "hob.status", nil, &st))
		return st.Connections <= crowd-3
	})
}
