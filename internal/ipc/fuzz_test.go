package ipc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/jsonrpc2"
	"github.com/stretchr/testify/require"
)

// FuzzFrame sends arbitrary bytes to a server and expects it to end with them.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		"", "\n", "{", "[", "null\n", "[]\n", "{}\n", "C", "c:\r\n\r\n",
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{}}` + "\n",
		`{"id":"x","method":"m","meta":null}` + "\n" + `{"method":"n"}` + "\n",
		`{"id":0,"result":null}` + "\n", `{"id":0,"error":{"code":1}}` + "\n", `{"error":1}` + "\n",
		withHeader(`{"id":1,"method":"m"}`), "Content-Length: 0\r\n\r\n", "Content-Length: 99\r\n\r\n{",
		strings.Repeat("[", 100_000), `{"id":1e9,"method":"m"}` + "\n", `{"id":1,"ID":null,"method":"m"}` + "\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := socketpair(t)
		c := NewConn(context.Background(), a, ConnOptions{Handler: echo})
		_ = b.SetDeadline(time.Now().Add(patience))
		go func() {
			_, _ = b.Write(in)
			_ = b.CloseWrite()
		}()
		_, _ = io.Copy(io.Discard, b)
		gone := make(chan struct{})
		go func() { c.Wait(); close(gone) }()
		within(t, "end of the connection", gone)
	})
}

// pieces is a stream whose reads give at most n bytes, and which has no clock.
type pieces struct {
	bytes []byte
	n     int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.bytes) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.bytes)
	p.bytes = p.bytes[n:]
	return n, nil
}

func (*pieces) SetReadDeadline(time.Time) error { return nil }

// framesOf reads a stream as a server does, until it ends; limit is the first frame's.
func framesOf(stream []byte, n, limit int) (frames [][]byte, headers bool, err error) {
	p := &pieces{stream, n}
	f := frameReader{r: bufio.NewReader(p), d: p, timeout: patience, limit: limit, detect: true, headers: new(atomic.Bool)}
	for {
		frame, err := f.next()
		if err != nil {
			return frames, f.headers.Load(), err
		}
		frames = append(frames, bytes.Clone(frame))
	}
}

// FuzzFraming: of any bytes, in pieces of any size, the same frames come, none beyond the limit; they come back when they are
// written in either framing; and what is wrong is the peer's fault, or the end of the stream.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{
		"{}\n[]\n", "\r\n\n {} \r\n", withHeader("{}") + withHeader(`{"a":1}`), "Content-Length: 2\r\nX: y\r\n\r\n{}\n{}", "content-length:2\n\n{}",
		"Content-Length: 0\r\n\r\n" + withHeader("{}"), "Content-Length: 4294967295\r\n\r\n", "Content-Length: 2147483648\r\n\r\n{",
		"Content-Length: -1\r\n\r\n", "Content-Length: 65\r\n\r\n" + strings.Repeat("x", 65), strings.Repeat("x", 64) + "\n", strings.Repeat("x", 65),
		"C", "{", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, n uint8) {
		const limit = 64
		frames, headers, err := framesOf(stream, max(1, int(n)), limit)
		for i, frame := range frames {
			require.NotEmpty(t, frame)
			require.Equal(t, bytes.TrimSpace(frame), frame)
			require.True(t, i > 0 || len(frame) <= limit, "%d bytes", len(frame))
			require.True(t, headers || !bytes.Contains(frame, []byte("\n")))
		}
		if fault, ok := errors.AsType[*Error](err); ok {
			require.Contains(t, []int64{CodeParse, CodeInvalidRequest}, int64(fault.Code))
		} else {
			require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
		}
		whole, _, same := framesOf(stream, len(stream)+1, limit)
		require.Equal(t, frames, whole)
		require.Equal(t, err, same)

		for _, headers := range []bool{false, true} {
			var again []byte
			for _, frame := range frames {
				if !headers && (bytes.Contains(frame, []byte("\n")) || frame[0]|0x20 == 'c') {
					return // no JSON, and no line
				}
				again = appendFrame(again, frame, headers)
			}
			back, _, err := framesOf(again, max(1, int(n)), limit)
			require.Equal(t, io.EOF, err)
			require.Equal(t, frames, back)
		}
	})
}

// FuzzMessage: what passes the check is read by the library as it was meant, with the id that it came with.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{}}`, `{"id":"x","method":"m"}`, `{"method":"n"}`, `{"id":0,"result":null}`,
		`{"id":0,"error":{"code":1,"message":"x"}}`, `{"error":1}`, `[{}]`, `null`, `{"id":1,"ID":null,"method":"m"}`, `{"id":1.0,"method":"m"}`,
		`{"id":9223372036854775807,"method":"m"}`, `{"id":"\ud800","method":"m"}`, `{"id":1,"method":"m","Method":"n"}`, `{"id":1,"result":1,"error":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if frame = bytes.TrimSpace(frame); len(frame) == 0 {
			return // no frame
		}
		err := checkMessage(frame)
		if fault, ok := errors.AsType[*Error](err); ok {
			require.NotEmpty(t, fault.Message+fault.Error())
			return
		}
		require.NoError(t, err)
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method json.RawMessage `json:"method"`
		}
		require.NoError(t, json.Unmarshal(frame, &m))
		if m.Method == nil {
			var r jsonrpc2.Response
			if json.Unmarshal(frame, &r) == nil {
				require.Equal(t, idOf(t, m.ID), r.ID)
			}
			return
		}
		var r jsonrpc2.Request
		if json.Unmarshal(frame, &r) == nil {
			require.Equal(t, m.ID == nil, r.Notif)
			require.Equal(t, idOf(t, m.ID), r.ID)
		}
	})
}

// idOf reads an id without the library.
func idOf(t *testing.T, raw json.RawMessage) (id jsonrpc2.ID) {
	if len(raw) > 0 && raw[0] == '"' {
		id.IsString = true
		require.NoError(t, json.Unmarshal(raw, &id.Str))
	} else if raw != nil {
		require.NoError(t, json.Unmarshal(raw, &id.Num))
	}
	return id
}
