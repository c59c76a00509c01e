package ipc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of a frame, without its newline or header. They hold while bytes come
// in, before memory is taken for them. The first frame that a server reads may
// have FirstFrame bytes: at that time nobody has said yet who he is.
const (
	FirstFrame = 64 << 10
	MaxFrame   = 16 << 20

	maxHeader = 4 << 10
)

// deadliner is the part of net.Conn that a frameReader needs beyond Read.
type deadliner interface{ SetReadDeadline(time.Time) error }

// frameReader cuts a stream into frames. One goroutine uses it; headers alone
// may be read by others, once a frame was read.
type frameReader struct {
	r            *bufio.Reader
	d            deadliner
	gate         *gate         // nil: nobody suspends it
	timeout      time.Duration // for the rest of a frame, from its first byte
	firstTimeout time.Duration // for the whole first frame; 0: no limit
	limit        int           // of the next frame
	detect       bool          // the framing is still open
	headers      *atomic.Bool
	waiting      bool // for the end of the first frame
	armed        bool // a read deadline is set
}

// start sets the deadline of the first frame.
func (f *frameReader) start() error {
	f.waiting = true
	if !f.bounded() {
		return nil
	}
	f.armed = true
	return f.d.SetReadDeadline(time.Now().Add(f.firstTimeout))
}

// next returns one frame, valid until the next call. An *Error is the peer's
// fault and can be told to it; anything else is the end of the connection.
// io.EOF comes between frames only.
func (f *frameReader) next() ([]byte, error) {
	for {
		if err := f.await(); err != nil {
			return nil, err
		}
		frame, err := f.read()
		if err != nil {
			return nil, f.explain(err)
		}
		if frame = bytes.TrimSpace(frame); len(frame) == 0 {
			continue
		}
		f.waiting, f.limit = false, MaxFrame
		return frame, nil
	}
}

// await returns when the first byte of a frame is there.
func (f *frameReader) await() error {
	for {
		if f.r.Buffered() == 0 && f.armed && !f.bounded() {
			f.armed = false
			if err := f.d.SetReadDeadline(time.Time{}); err != nil {
				return err
			}
		}
		b, err := f.peek()
		if err == errSuspended {
			continue
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("no request in %v: %w", f.firstTimeout, os.ErrDeadlineExceeded)
			}
			return err
		}
		switch b[0] {
		case '\n', '\r':
			_, _ = f.r.Discard(1)
			continue
		}
		if f.detect {
			// JSON opens with a brace; a header is the only thing that opens with this letter.
			f.headers.Store(b[0] == 'C' || b[0] == 'c')
			f.detect = false
		}
		return nil
	}
}

// errSuspended is for a read that was interrupted: try again.
var errSuspended = errors.New("suspended")

// peek waits for a byte, and no longer than until the connection is to be suspended, and then until it is not.
func (f *frameReader) peek() ([]byte, error) {
	if f.gate == nil {
		return f.r.Peek(1)
	}
	f.gate.enter(func() {
		if f.bounded() {
			_ = f.d.SetReadDeadline(time.Now().Add(f.firstTimeout))
		}
	})
	b, err := f.r.Peek(1)
	if !f.gate.leave() {
		return nil, errSuspended
	}
	return b, err
}

func (f *frameReader) read() ([]byte, error) {
	if !f.headers.Load() {
		return f.line(f.limit)
	}
	n, err := f.header()
	if err != nil {
		return nil, err
	}
	if n > f.limit {
		return nil, tooLong(f.limit)
	}
	return f.body(n)
}

// bounded says that the first frame's own deadline is running.
func (f *frameReader) bounded() bool { return f.waiting && f.firstTimeout > 0 }

// arm bounds the rest of a frame. The first frame keeps its own deadline, else
// blank lines could put it off for ever.
func (f *frameReader) arm() error {
	if f.bounded() {
		return nil
	}
	f.armed = true
	return f.d.SetReadDeadline(time.Now().Add(f.timeout))
}

// line returns up to and including the next newline, at most limit bytes before
// it. It looks at each read's bytes as they come: ReadSlice would wait for a
// full buffer before a frame that is too long could be seen to be.
func (f *frameReader) line(limit int) ([]byte, error) {
	var long []byte
	for first := true; ; first = false {
		if _, err := f.r.Peek(1); err != nil {
			return nil, err
		}
		chunk, _ := f.r.Peek(f.r.Buffered())
		end := bytes.IndexByte(chunk, '\n')
		if end >= 0 {
			chunk = chunk[:end+1]
		}
		if beforeEnd(long, chunk) > limit {
			return nil, tooLong(limit)
		}
		_, _ = f.r.Discard(len(chunk)) // leaves chunk's bytes until the next Peek
		if end >= 0 && long == nil {
			return chunk, nil
		}
		long = append(long, chunk...)
		if end >= 0 {
			return long, nil
		}
		if first {
			if err := f.arm(); err != nil {
				return nil, err
			}
		}
	}
}

// beforeEnd is how many bytes two parts of a line have before its end, "\n" or "\r\n", or what may become one: the same for
// all ways in which a line can be cut in two.
func beforeEnd(long, chunk []byte) int {
	body := bytes.TrimSuffix(chunk, []byte("\n"))
	n := len(long) + len(body)
	if bytes.HasSuffix(body, []byte("\r")) || len(body) == 0 && bytes.HasSuffix(long, []byte("\r")) {
		n--
	}
	return n
}

// header reads "Name: value" lines up to a blank one and returns Content-Length.
// Other names are ignored, as the Language Server Protocol's base protocol has it.
func (f *frameReader) header() (int, error) {
	if err := f.arm(); err != nil {
		return 0, err
	}
	length, left := -1, maxHeader
	for {
		raw, err := f.line(maxHeader)
		if left -= len(raw); left < 0 {
			return 0, &Error{Code: CodeParse, Message: fmt.Sprintf("parse error: header longer than %d bytes", maxHeader)}
		}
		if err != nil {
			return 0, err
		}
		line := strings.TrimRight(string(raw), "\r\n")
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return 0, &Error{Code: CodeParse, Message: fmt.Sprintf("parse error: header %.40q has no colon", line)}
		}
		if !strings.EqualFold(name, "Content-Length") {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
		if err != nil || length >= 0 {
			return 0, &Error{Code: CodeParse, Message: fmt.Sprintf("parse error: header %.40q is not one length", line)}
		}
		length = int(n)
	}
	if length < 0 {
		return 0, &Error{Code: CodeParse, Message: "parse error: no Content-Length"}
	}
	return length, nil
}

// body takes memory as bytes come, never more than twice what came.
func (f *frameReader) body(n int) ([]byte, error) {
	var buf []byte
	for len(buf) < n {
		step := min(n-len(buf), max(len(buf), maxHeader))
		buf = slices.Grow(buf, step)
		got, err := io.ReadFull(f.r, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+got]
		if err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// explain names what went wrong in the middle of a frame.
func (f *frameReader) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		d := f.timeout
		if f.bounded() {
			d = f.firstTimeout
		}
		return &Error{Code: CodeInvalidRequest, Message: fmt.Sprintf("invalid request: no whole frame in %v", d)}
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

func tooLong(limit int) *Error {
	return &Error{Code: CodeInvalidRequest, Message: fmt.Sprintf("invalid request: frame longer than %d bytes", limit)}
}

// appendFrame appends data, one JSON value without a newline in it, as a frame.
func appendFrame(dst, data []byte, headers bool) []byte {
	if !headers {
		return append(append(dst, data...), '\n')
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(data)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, data...)
}
