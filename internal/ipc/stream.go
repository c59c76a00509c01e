package ipc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of ConnOptions.
const (
	FrameTimeout = 10 * time.Second
	WriteTimeout = 10 * time.Second
)

// afterlife is how long a connection whose write side broke may still be read:
// the peer may have said why before it closed.
const afterlife = time.Second

// stream is the jsonrpc2.ObjectStream of a Conn.
type stream struct {
	nc           net.Conn
	server       bool // tells the peer what was wrong with its frame
	writeTimeout time.Duration
	onFirst      func()
	begin        chan struct{} // closed once the Conn is whole
	finishing    atomic.Bool   // the read loop stays, when it has come to the end, until the connection is closed
	drained      chan struct{} // closed when it has come there
	ending       chan struct{} // closed by Close
	gate         gate
	ahead        bytes.Reader // what an earlier Conn had read
	frames       frameReader  // the read loop's
	headers      atomic.Bool  // the framing
	shared       atomic.Bool  // somebody goes on with a duplicate

	ended func() // called once, by the read loop at its end

	wmu    sync.Mutex // serialises writes, guards wrote and broken
	wrote  bool
	broken bool

	cmu   sync.Mutex // guards cause
	cause error

	handover
}

func newStream(nc net.Conn, o *ConnOptions) *stream {
	s := &stream{
		nc:           nc,
		server:       o.Handler != nil,
		writeTimeout: o.WriteTimeout,
		onFirst:      o.OnFirstFrame,
		begin:        make(chan struct{}),
		drained:      make(chan struct{}),
		ending:       make(chan struct{}),
		handover:     handover{once: o.Once, free: make(chan struct{})},
	}
	s.gate.kick = nc.SetReadDeadline
	s.frames = frameReader{
		r:            bufio.NewReader(nc),
		d:            nc,
		gate:         &s.gate,
		timeout:      o.FrameTimeout,
		firstTimeout: o.FirstFrameTimeout,
		limit:        MaxFrame,
		detect:       s.server,
		headers:      &s.headers,
	}
	if s.server {
		s.frames.limit = FirstFrame
	}
	if r := o.Resume; r != nil && len(r.Ahead) > 0 {
		s.ahead.Reset(r.Ahead)
		s.frames.r.Reset(io.MultiReader(&s.ahead, nc))
	}
	if r := o.Resume; r != nil && r.Spoken {
		s.frames.limit, s.frames.detect = MaxFrame, false
		s.headers.Store(r.Headers)
		s.onFirst = nil
		return s
	}
	if err := s.frames.start(); err != nil {
		s.fail(err)
	}
	return s
}

// ReadObject is called by jsonrpc2's read loop only, and never again after an error.
func (s *stream) ReadObject(v any) error {
	<-s.begin
	if s.last.Load() {
		return s.rest()
	}
	err := s.read(v)
	if err == nil {
		return nil
	}
	s.fail(err)
	// A refusal is the peer's own last word: answering it could go on for ever.
	if fault, ok := errors.AsType[*Error](err); ok && s.server && !errors.As(err, new(errRefused)) {
		s.answer(fault)
	}
	if close(s.drained); s.finishing.Load() {
		<-s.ending
	}
	s.ended()
	return err
}

// unread is what was read from the socket and not yet as a frame. It is for when the read loop stands still.
func (s *stream) unread() []byte {
	buffered, _ := s.frames.r.Peek(s.frames.r.Buffered())
	rest := make([]byte, s.ahead.Len())
	n, _ := s.ahead.Read(rest)
	_, _ = s.ahead.Seek(-int64(n), io.SeekCurrent)
	return append(bytes.Clone(buffered), rest[:n]...)
}

func (s *stream) read(v any) error {
	frame, err := s.frames.next()
	if err != nil {
		return err
	}
	if s.onFirst != nil {
		s.onFirst()
		s.onFirst = nil
	}
	if s.once {
		s.last.Store(true)
	}
	if err := checkMessage(frame); err != nil {
		return err
	}
	if err := json.Unmarshal(frame, v); err != nil {
		return invalid(err.Error())
	}
	return nil
}

// answer tells the peer why its connection ends. The id is null, since which
// request it was is not known (JSON-RPC 2.0, 5.1).
func (s *stream) answer(e *Error) {
	data, err := json.Marshal(struct {
		ID      *int   `json:"id"`
		Error   *Error `json:"error"`
		Version string `json:"jsonrpc"`
	}{Error: e, Version: "2.0"})
	if err == nil {
		_ = s.write(data)
	}
}

// errFrameSize is a frame that the peer would refuse. Nothing was written.
type errFrameSize struct{ size, limit int }

func (e errFrameSize) Error() string {
	return fmt.Sprintf("message of %d bytes, at most %d", e.size, e.limit)
}

// WriteObject may be called from several goroutines.
func (s *stream) WriteObject(obj any) error {
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	return s.write(data)
}

func (s *stream) write(data []byte) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.broken {
		return ErrClosed
	}
	limit := MaxFrame
	if !s.server && !s.wrote {
		limit = FirstFrame
	}
	if len(data) > limit {
		return errFrameSize{len(data), limit}
	}
	s.wrote = true
	if err := s.nc.SetWriteDeadline(time.Now().Add(s.writeTimeout)); err != nil {
		return s.sever(err)
	}
	if _, err := s.nc.Write(appendFrame(nil, data, s.headers.Load())); err != nil {
		return s.sever(err)
	}
	return nil
}

// sever ends a connection with part of a frame on it. It is called with wmu held.
func (s *stream) sever(err error) error {
	s.broken = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.fail(fmt.Errorf("peer did not read for %v: %w", s.writeTimeout, os.ErrDeadlineExceeded))
		_ = s.nc.Close()
		return err
	}
	if _, ours := Fault(err); ours { // the peer has no last words then
		s.fail(err)
		_ = s.nc.Close()
		return err
	}
	time.AfterFunc(afterlife, func() {
		s.fail(err)
		_ = s.nc.Close()
	})
	return err
}

// fail remembers why the connection ends; the first reason is the one.
func (s *stream) fail(err error) {
	s.cmu.Lock()
	defer s.cmu.Unlock()
	if s.cause == nil {
		s.cause = bare(err)
	}
}

func (s *stream) why() error {
	s.cmu.Lock()
	defer s.cmu.Unlock()
	return s.cause
}

// Close is called by jsonrpc2, after ReadObject failed or when its context ends.
func (s *stream) Close() error {
	if s.disown() {
		return nil
	}
	s.fail(net.ErrClosed)
	// A child that is being forked has the descriptor, too, until it is executed; the peer is to see the end now.
	if u, ok := s.nc.(*net.UnixConn); ok && !s.shared.Load() {
		_ = u.CloseRead()
		_ = u.CloseWrite()
	}
	err := s.nc.Close()
	close(s.ending)
	s.gate.open() // whoever was suspended sees it, too
	return err
}
