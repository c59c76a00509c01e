package ipc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// withHeader is a message as an editor's library frames it.
func withHeader(s string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(s), s) }

func TestLinesAndHeadersGetTheirOwnFraming(t *testing.T) {
	t.Parallel()
	const ask = `{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":[1,"<"]}}`
	const answer = `{"id":7,"result":{"a":[1,"\u003c"]},"jsonrpc":"2.0"}`
	for name, c := range map[string]struct{ in, out string }{
		"line":           {ask + "\n", answer + "\n"},
		"line, CR LF":    {ask + "\r\n", answer + "\n"},
		"blank lines":    {"\n\r\n  \n" + ask + "\n\n", answer + "\n"},
		"two lines":      {ask + "\n", answer + "\n"},
		"header":         {withHeader(ask), withHeader(answer)},
		"header's case":  {"content-LENGTH:" + withHeader(ask)[len("Content-Length:"):], withHeader(answer)},
		"another header": {"Content-Type: application/json\r\n" + withHeader(ask), withHeader(answer)},
		"LF only":        {strings.ReplaceAll(withHeader(ask), "\r", ""), withHeader(answer)},
		"pretty printed": {withHeader(strings.ReplaceAll(ask, ",", ",\n  ")), withHeader(answer)},
	} {
		t.Run(name, func(t *testing.T) {
			_, p := newConn(t, ConnOptions{Handler: echo})
			for range 2 { // the framing is the connection's
				p.send(c.in)
				got := make([]byte, len(c.out))
				_, err := io.ReadFull(p.r, got)
				require.NoError(t, err)
				require.Equal(t, c.out, string(got))
			}
			require.Zero(t, p.r.Buffered())
		})
	}
}

func TestDribbledFrameArrivesWhole(t *testing.T) {
	t.Parallel()
	const ask = `{"jsonrpc":"2.0","id":"x","method":"m","params":[true]}`
	for _, in := range []string{ask + "\n", withHeader(ask)} {
		first := make(chan struct{})
		_, p := newConn(t, ConnOptions{Handler: echo, OnFirstFrame: func() { close(first) }})
		for _, b := range []byte(in) {
			p.send(string(b))
			runtime.Gosched()
		}
		within(t, "OnFirstFrame", first)
		answer := make([]byte, len(`{"id":"x","result":[true],"jsonrpc":"2.0"}`))
		if in[0] == 'C' {
			require.Equal(t, "Content-Length: 42\r\n", p.line())
			require.Equal(t, "\r\n", p.line())
		}
		_, err := io.ReadFull(p.r, answer)
		require.NoError(t, err)
		require.Equal(t, `{"id":"x","result":[true],"jsonrpc":"2.0"}`, string(answer))
	}
}

func TestMalformedFrameCostsItsConnection(t *testing.T) {
	t.Parallel()
	const (
		parse   = -32700
		request = -32600
	)
	for name, c := range map[string]struct {
		in   string
		code int
		text string
	}{
		"no JSON":             {"hello\n", parse, "parse error: "},
		"half a value":        {"{\n", parse, "a message is one line"},
		"HTTP":                {"GET / HTTP/1.1\r\n", parse, "parse error: "},
		"NUL":                 {"\x00\n", parse, "parse error: "},
		"two values":          {`{"id":1,"method":"m"} {}` + "\n", parse, "parse error: "},
		"deep":                {`{"id":1,"method":"m","params":` + strings.Repeat("[", 50_000) + "\n", parse, "depth"},
		"batch":               {`[{"id":1,"method":"m"}]` + "\n", request, "batch is not supported"},
		"empty batch":         {"[]\n", request, "batch is not supported"},
		"deep batch":          {strings.Repeat("[", 60_000) + "\n", request, "batch is not supported"},
		"null":                {"null\n", request, "neither a request nor a response"},
		"number":              {"1\n", request, "not an object"},
		"empty":               {"{}\n", request, "neither a request nor a response"},
		"both":                {`{"id":1,"method":"m","result":1}` + "\n", request, "neither a request nor a response"},
		"method 5":            {`{"id":1,"method":5}` + "\n", request, "method is not a string"},
		"method's case":       {`{"id":1,"Method":"m"}` + "\n", request, "is not"},
		"id's case":           {`{"iD":"","method":"m"}` + "\n", request, "is not"},
		"two ids":             {`{"id":1,"ID":2,"method":"m"}` + "\n", request, "is not"},
		"result's case":       {`{"id":1,"reſult":2}` + "\n", request, "is not"},
		"a name escaped":      {`{"\u0049d":1,"method":"m"}` + "\n", request, "is not"},
		"id null":             {`{"id":null,"method":"m"}` + "\n", request, "id is not"},
		"id fraction":         {`{"id":1.5,"method":"m"}` + "\n", request, "id is not"},
		"id negative":         {`{"id":-1,"method":"m"}` + "\n", request, "id is not"},
		"id huge":             {`{"id":9223372036854775808,"method":"m"}` + "\n", request, "id is not"},
		"id object":           {`{"id":{},"method":"m"}` + "\n", request, "id is not"},
		"answer without id":   {`{"result":1}` + "\n", request, "id is not"},
		"first frame too big": {`{"id":1,"method":"m","params":"` + strings.Repeat("x", FirstFrame), request, "longer than 65536"},
		"no length":           {"Content-Type: x\r\n\r\n{}", parse, "no Content-Length"},
		"two lengths":         {"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", parse, "is not one length"},
		"length -1":           {"Content-Length: -1\r\n\r\n", parse, "is not one length"},
		"length 100 MB":       {"Content-Length: 100000000\r\n\r\n", request, "longer than 65536"},
		"CONNECT":             {"CONNECT / HTTP/1.1\r\n\r\n", parse, "has no colon"},
		"long header":         {"c" + strings.Repeat("x", 5000), request, "longer than 4096"},
		"many headers":        {strings.Repeat("Cookie: 0123456789\r\n", 300), parse, "longer than 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, p := newConn(t, ConnOptions{Handler: echo})
			go func() { _, _ = io.WriteString(p.UnixConn, c.in) }() // may be cut short
			got := p.rest()
			require.Contains(t, got, fmt.Sprintf(`{"id":null,"error":{"code":%d,"message":"`, c.code))
			require.Contains(t, got, c.text)
			require.Equal(t, 1, strings.Count(got, "jsonrpc"), "one answer: %s", got)
			within(t, "Done", conn.Done())
			require.ErrorIs(t, conn.Err(), ErrClosed)
			require.ErrorContains(t, conn.Err(), c.text)
		})
	}
}

func TestIdsComeBackAsTheyWent(t *testing.T) {
	t.Parallel()
	_, p := newConn(t, ConnOptions{Handler: echo})
	for _, id := range []string{`0`, `1`, `9223372036854775807`, `""`, `"a"`, `"1"`, `"é"`} {
		p.send(`{"id":` + id + `,"method":"m"}` + "\n")
		require.Equal(t, `{"id":`+id+`,"result":null,"jsonrpc":"2.0"}`+"\n", p.line())
	}
}

func TestNotificationGetsNoReply(t *testing.T) {
	t.Parallel()
	seen := make(chan bool, 1)
	_, p := newConn(t, ConnOptions{Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
		if r.Method == "n" {
			seen <- r.Notification
			return nil, io.ErrNoProgress
		}
		return nil, nil
	}})
	p.send(`{"method":"n"}` + "\n")
	require.True(t, <-seen)
	p.send(`{"id":1,"method":"m"}` + "\n")
	require.Equal(t, `{"id":1,"result":null,"jsonrpc":"2.0"}`+"\n", p.line(), "the first line there is")
}

// Not parallel: it looks at the memory of the process.
func TestHugeFrameTakesNoMemory(t *testing.T) {
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	chunk := strings.Repeat("x", 64<<10)
	flood := func(p *peer) {
		for range (100 << 20) / len(chunk) {
			if _, err := io.WriteString(p.UnixConn, chunk); err != nil {
				return
			}
		}
	}
	hello := `{"id":1,"method":"m"}`

	_, other := newConn(t, ConnOptions{Handler: echo})
	_, p := newConn(t, ConnOptions{Handler: echo})
	before := allocated()
	go flood(p)
	require.Contains(t, p.rest(), "longer than 65536 bytes")
	require.Less(t, allocated()-before, uint64(4<<20), "a first frame of 100 MB")

	_, p = newConn(t, ConnOptions{Handler: echo})
	p.send(hello + "\n")
	p.line()
	before = allocated()
	go flood(p)
	require.Contains(t, p.rest(), "longer than 16777216 bytes")
	require.Less(t, allocated()-before, uint64(10*MaxFrame), "a later one, all the steps of its buffer summed up")

	c, p := newConn(t, ConnOptions{Handler: echo})
	before = allocated()
	p.send(withHeader(hello) + fmt.Sprintf("Content-Length: %d\r\n\r\n{", MaxFrame))
	for range 3 {
		p.line() // the answer to hello
		if p.r.Buffered() == len(`{"id":1,"result":null,"jsonrpc":"2.0"}`) {
			break
		}
	}
	require.Less(t, allocated()-before, uint64(1<<20), "a length is only a claim")
	require.NoError(t, c.Err())

	other.send(hello + "\n")
	other.line()
}

func TestFrameOfExactlyTheLimitPasses(t *testing.T) {
	t.Parallel()
	for _, headers := range []bool{false, true} {
		for extra := range 2 {
			a, b := socketpair(t)
			go func() { _, _ = a.Write(appendFrame(nil, make([]byte, MaxFrame+extra), headers)) }()
			f := frameReader{r: bufio.NewReader(b), d: b, timeout: patience, limit: MaxFrame, headers: new(atomic.Bool)}
			f.headers.Store(headers)
			frame, err := f.next()
			if extra > 0 {
				require.ErrorContains(t, err, "longer than 16777216")
			} else {
				require.NoError(t, err)
				require.Len(t, frame, MaxFrame)
			}
			require.NoError(t, b.Close())
		}
	}
}

func TestLargeMessagesPass(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", MaxFrame)
	mid := big[:2<<20]
	a, b := socketpair(t)
	server := NewConn(t.Context(), a, ConnOptions{Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
		if r.Method == "over" {
			return big, nil
		}
		return r.Params, nil
	}})
	client := NewConn(t.Context(), b, ConnOptions{})
	defer func() { _ = client.Close(); client.Wait(); server.Wait() }()

	err := client.Call(t.Context(), "m", []string{big[:FirstFrame]}, nil)
	require.EqualError(t, err, "call m: message of 65587 bytes, at most 65536")
	require.NoError(t, client.Call(t.Context(), "m", nil, nil))
	var back []string
	require.NoError(t, client.Call(t.Context(), "m", []string{mid}, &back))
	require.Equal(t, mid, back[0])
	require.ErrorIs(t, client.s.write(make([]byte, MaxFrame+1)), errFrameSize{MaxFrame + 1, MaxFrame})
	err = client.Call(t.Context(), "over", nil, nil)
	require.ErrorContains(t, err, "answer too long")
	require.NoError(t, client.Call(t.Context(), "m", nil, nil), "the connection lives")
}

// inBubble runs f with a server whose clock is synctest's.
func inBubble(t *testing.T, o ConnOptions, f func(t *testing.T, c *Conn, raw net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, raw := net.Pipe()
		c := NewConn(context.Background(), a, o)
		f(t, c, raw)
		_ = raw.Close()
		_ = c.Close()
		c.Wait()
	})
}

func TestHalfFrameThenSilenceEnds(t *testing.T) {
	t.Parallel()
	for _, half := range []string{`{"id":1,"met`, "Content-Length: 10\r\n\r\n{", "Content-Le", " ", "Content-Length: 10\r\n"} {
		inBubble(t, ConnOptions{Handler: echo}, func(t *testing.T, c *Conn, raw net.Conn) {
			start := time.Now()
			_, err := io.WriteString(raw, half)
			require.NoError(t, err)
			got, err := io.ReadAll(raw)
			require.NoError(t, err)
			require.Contains(t, string(got), "invalid request: no whole frame in 10s")
			require.Equal(t, FrameTimeout, time.Since(start))
		})
	}
}

func TestFirstFrameIsBoundedInTime(t *testing.T) {
	t.Parallel()
	o := ConnOptions{Handler: echo, FirstFrameTimeout: 3 * time.Second}
	for name, in := range map[string]string{"silence": "", "half a frame": `{"id"`} {
		inBubble(t, o, func(t *testing.T, c *Conn, raw net.Conn) {
			start := time.Now()
			_, err := io.WriteString(raw, in)
			require.NoError(t, err)
			got, err := io.ReadAll(raw)
			require.NoError(t, err)
			require.Equal(t, in == "", len(got) == 0, "%s: %s", name, got)
			require.Equal(t, o.FirstFrameTimeout, time.Since(start))
			require.ErrorIs(t, c.Err(), ErrClosed)
		})
	}
	inBubble(t, o, func(t *testing.T, c *Conn, raw net.Conn) {
		start := time.Now() // blank lines are no frame, dribbled or not
		for _, s := range []string{"\n", " \n", "  ", "\n"} {
			_, err := io.WriteString(raw, s)
			require.NoError(t, err)
			time.Sleep(700 * time.Millisecond) // the bubble's
		}
		<-c.Done()
		require.Equal(t, o.FirstFrameTimeout, time.Since(start))
		require.ErrorIs(t, c.Err(), os.ErrDeadlineExceeded)
		require.EqualError(t, c.Err(), "connection closed: no request in 3s: i/o timeout")
	})
}

func TestIdleConnectionLives(t *testing.T) {
	t.Parallel()
	inBubble(t, ConnOptions{Handler: echo, FirstFrameTimeout: time.Second}, func(t *testing.T, c *Conn, raw net.Conn) {
		for _, part := range [][]string{{`{"id":1,"method":"m"}` + "\n"}, {`{"id":1,"me`, `thod":"m"}` + "\n"}, {`{"id":1,"method":"m"}` + "\n"}} {
			for _, s := range part {
				_, err := io.WriteString(raw, s)
				require.NoError(t, err)
			}
			_, err := raw.Read(make([]byte, 100))
			require.NoError(t, err)
			time.Sleep(24 * time.Hour) // the bubble's
		}
		require.NoError(t, c.Err())
	})
}

func TestBlankLinesStartNoClock(t *testing.T) {
	t.Parallel()
	inBubble(t, ConnOptions{Handler: echo}, func(t *testing.T, c *Conn, raw net.Conn) {
		for _, s := range []string{" ", "\n", "\n", ` {"id":1,"method":"m"}` + "\n"} {
			time.Sleep(FrameTimeout - time.Second) // the bubble's
			_, err := io.WriteString(raw, s)
			require.NoError(t, err)
		}
		_, err := raw.Read(make([]byte, 100))
		require.NoError(t, err)
		require.NoError(t, c.Err())
	})
}

func TestPeerThatDoesNotReadIsLetGo(t *testing.T) {
	t.Parallel()
	inBubble(t, ConnOptions{Handler: echo, WriteTimeout: 2 * time.Second}, func(t *testing.T, c *Conn, raw net.Conn) {
		start := time.Now()
		_, err := io.WriteString(raw, `{"id":1,"method":"m"}`+"\n")
		require.NoError(t, err)
		<-c.Done()
		require.Equal(t, 2*time.Second, time.Since(start))
		require.EqualError(t, c.Err(), "connection closed: peer did not read for 2s: i/o timeout")
	})
}
