package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sourcegraph/jsonrpc2"
)

// ErrDetached is why a Conn ended whose connection somebody else has now.
var ErrDetached = errors.New("connection handed over")

// handover is what a stream knows of its connection changing hands.
type handover struct {
	once  bool          // of a client: the first frame is the last
	last  atomic.Bool   // the read loop reads no further frame
	asked bool          // the read loop's: Last was asked
	free  chan struct{} // closed when the read loop that reads no more may end

	hmu    sync.Mutex // guards closed and gone
	closed bool       // closed before it was handed over
	gone   bool       // handed over: not the stream's to close
}

// Detach ends c without closing the connection, which is the caller's from then on, without
// deadlines. It is for a client with ConnOptions.Once, when its one Call has returned; for any
// other the error says so. A Conn that is over gives ErrClosed.
func (c *Conn) Detach() (*RawConn, error) {
	if !c.s.once || !c.s.last.Load() {
		return nil, errors.New("detach connection: it is read on")
	}
	raw, err := c.s.detach()
	if err != nil {
		return nil, fmt.Errorf("detach connection: %w", err)
	}
	c.s.release()
	c.Wait()
	return raw, nil
}

// HandOver gives the connection to take once the request is answered. It is for the handler of
// the request that ConnOptions.Last chose: false says that it is another. take is called exactly
// once, on the read loop, before Done is closed; it gets nil when the connection ended instead, or
// when the handler returned an error.
func (r *Request) HandOver(take func(*RawConn)) bool {
	if r.last {
		r.take = take
	}
	return r.last
}

// serveLast answers the request that ConnOptions.Last chose, on the read loop: not a byte after
// it is read here. What comes next is the end of the Conn, with the connection handed over or closed.
func (c *Conn) serveLast(ctx context.Context, id jsonrpc2.ID, req *Request) bool {
	if c.s.asked || c.o.Last == nil {
		return false
	}
	c.s.asked = true
	if req.Notification || !c.o.Last(req) {
		return false
	}
	req.last = true
	c.s.last.Store(true)
	defer c.s.release()
	if !c.takeSlot(ctx) {
		return true
	}
	defer func() { <-c.slots }()
	resp := &jsonrpc2.Response{ID: id}
	c.invoke(ctx, req, resp)
	c.reply(ctx, resp)
	if req.take == nil {
		return true
	}
	if resp.Error != nil {
		req.take(nil)
		return true
	}
	raw, _ := c.s.detach() // nil with an error, which c.Err has too
	req.take(raw)
	return true
}

// detach makes the connection the caller's, unless it is over. Nothing is read or written here
// any more then.
func (s *stream) detach() (*RawConn, error) {
	s.wmu.Lock()
	broken := s.broken
	s.broken = true // an answer that comes late must not get into the other protocol
	s.wmu.Unlock()
	s.hmu.Lock()
	defer s.hmu.Unlock()
	if broken || s.closed || s.gone || s.finishing.Load() {
		return nil, closedBy(s.why())
	}
	if err := s.nc.SetDeadline(time.Time{}); err != nil {
		return nil, closedBy(err)
	}
	s.gone = true
	ahead, _ := s.frames.r.Peek(s.frames.r.Buffered())
	return &RawConn{Conn: s.nc, ahead: append([]byte(nil), ahead...)}, nil
}

// closeRead has the peer send no more. It is false for a connection that is handed over, or is about to be.
func (s *stream) closeRead() bool {
	s.hmu.Lock()
	defer s.hmu.Unlock()
	nc, ok := s.nc.(interface{ CloseRead() error })
	if !ok || s.last.Load() || s.closed || s.gone {
		return false
	}
	s.finishing.Store(true)
	return nc.CloseRead() == nil
}

// release lets the read loop end.
func (s *stream) release() {
	s.hmu.Lock()
	defer s.hmu.Unlock()
	select {
	case <-s.free:
	default:
		close(s.free)
	}
}

// rest takes the place of reading when the last frame was read.
func (s *stream) rest() error {
	<-s.free
	s.hmu.Lock()
	err := net.ErrClosed
	if s.gone {
		err = ErrDetached
	}
	s.hmu.Unlock()
	s.fail(err)
	s.ended()
	return err
}

// disown says whether the connection was handed over. If not, it never will be.
func (s *stream) disown() bool {
	s.release()
	s.hmu.Lock()
	defer s.hmu.Unlock()
	s.closed = !s.gone
	return s.gone
}

// RawConn is a connection that a Conn was on: Read first gives what the Conn had read ahead.
// Close ends it. Its methods may be called from several goroutines.
type RawConn struct {
	net.Conn

	mu    sync.Mutex // guards ahead
	ahead []byte
}

// Read reads as net.Conn says. What was read ahead comes whatever the deadline.
func (c *RawConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.ahead) > 0 {
		defer c.mu.Unlock()
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// Close closes the connection. What was read ahead is dropped.
func (c *RawConn) Close() error {
	c.mu.Lock()
	c.ahead = nil
	c.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite is that of *net.UnixConn: the peer reads to its end, and can still write.
func (c *RawConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// CloseRead is that of *net.UnixConn.
func (c *RawConn) CloseRead() error {
	if h, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return h.CloseRead()
	}
	return errors.ErrUnsupported
}

// SyscallConn is that of *net.UnixConn. It knows nothing of what was read ahead.
func (c *RawConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Plain is the connection itself when nothing of it was read ahead, else c.
func (c *RawConn) Plain() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ahead) == 0 {
		return c.Conn
	}
	return c
}
