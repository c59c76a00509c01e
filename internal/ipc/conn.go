package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sourcegraph/jsonrpc2"
)

// Request is what a peer asks.
type Request struct {
	Method       string
	Params       json.RawMessage // nil when there were none
	Notification bool            // nobody waits for an answer

	last bool           // ConnOptions.Last chose it
	take func(*RawConn) // see HandOver
}

// Handler answers one request, in a goroutine of its own. ctx ends with the
// connection. An *Error anywhere in err goes to the peer as it is, any other
// error with CodeFailed; result is what encoding/json makes of it. Both are
// dropped for a notification.
type Handler func(ctx context.Context, c *Conn, req *Request) (result any, err error)

// ConnOptions are a Conn's. The zero value is that of a client which takes no
// notifications.
type ConnOptions struct {
	// Handler makes the connection a server: it takes either framing, reads a
	// small first frame only, and says what is wrong with a malformed one.
	// Without it, requests are answered with "no such method".
	Handler Handler

	// Notify takes notifications, in order, on the read loop: while it runs
	// nothing else is read, so it must not Call on this connection. Without
	// it they go to Handler, or nowhere.
	Notify func(method string, params json.RawMessage)

	// Last is asked, on the read loop, about the first request of a server's connection, unless that
	// is a notification. When it says true nothing else is read: Handler is called on the read loop,
	// so it must not wait, and after its answer the connection is handed over, if it calls
	// HandOver, or closed.
	Last func(req *Request) bool

	// Once is for a client that makes one Call and then Detach: after the first frame nothing is
	// read, and nobody sees that the peer has gone.
	Once bool

	// OnFirstFrame is called once, on the read loop, when the first frame is there.
	OnFirstFrame func()

	// OnPanic is told of a panic in Handler, with its stack. The peer gets
	// CodeInternal, the connection goes on.
	OnPanic func(value any, stack []byte)

	FirstFrameTimeout time.Duration // until the whole first frame is read; 0: for ever
	FrameTimeout      time.Duration // from a frame's first byte to its last; 0: 10 s
	WriteTimeout      time.Duration // for one frame; 0: 10 s

	// MaxInFlight requests are handled at once, 0 means 64; the next one waits
	// and the connection is not read meanwhile. It is watched, though: when
	// the peer goes, ctx of the handlers ends.
	MaxInFlight int

	// Resume goes on with a connection that another Conn, of another process
	// as a rule, has left at that point. nil: it is a new one.
	Resume *Suspended
}

func (o ConnOptions) withDefaults() ConnOptions {
	if o.FrameTimeout == 0 {
		o.FrameTimeout = FrameTimeout
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = WriteTimeout
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 64
	}
	return o
}

// Conn is one connection, either end. Its methods may be called from several
// goroutines; requests and replies of both directions interleave.
type Conn struct {
	o      ConnOptions
	s      *stream
	rpc    *jsonrpc2.Conn
	creds  Creds
	ctx    context.Context
	slots  chan struct{}  // one for each request being handled
	active sync.WaitGroup // the read loop and the handlers

	amu       sync.Mutex // guards suspended and again
	suspended bool
	again     []*Unsettled // that are not handled at this moment
}

// NewConn takes over nc and reads it until the peer closes its end, even only
// for writing, until something is wrong, until Close, or until ctx ends.
func NewConn(ctx context.Context, nc net.Conn, o ConnOptions) *Conn {
	o = o.withDefaults()
	c := &Conn{o: o, s: newStream(nc, &o), creds: nobody, slots: make(chan struct{}, o.MaxInFlight)}
	var end context.CancelFunc
	c.ctx, end = context.WithCancel(ctx)
	if u, ok := nc.(*net.UnixConn); ok {
		c.creds, _ = PeerCreds(u)
	}
	c.active.Add(1)
	c.s.ended = func() { end(); c.active.Done() }
	c.rpc = jsonrpc2.NewConn(ctx, c.s, dispatcher{c}, jsonrpc2.SetLogger(silence{}))
	if o.Resume != nil {
		c.amu.Lock()
		for _, u := range o.Resume.Again {
			c.again = append(c.again, &u)
		}
		c.repeat(c.again...)
		c.amu.Unlock()
	}
	close(c.s.begin) // the read loop may use c now
	return c
}

// ErrUnsent says that the peer has not got the whole of a request, and so has done nothing.
var ErrUnsent = errors.New("not sent")

// unsent is an error that is ErrUnsent, too, in its own words.
type unsent struct{ error }

func (u unsent) Unwrap() error      { return u.error }
func (unsent) Is(target error) bool { return target == ErrUnsent }

// silence takes the place of jsonrpc2's logger, which writes to stderr.
type silence struct{}

func (silence) Printf(string, ...any) {}

// Call asks and waits for the answer, which it decodes into result (nil:
// dropped). A nil params is left out. The error is the peer's *Error as it is;
// or one that is ErrClosed when the connection died before the answer, and then
// nobody knows whether the request was carried out, unless it is ErrUnsent, too; or one that wraps ctx's.
//
// Call returns when ctx ends, also while the peer does not read. The request
// is not taken back: its answer is dropped when it comes.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	var w jsonrpc2.Waiter
	err := c.send(ctx, params, func(params any) (err error) {
		w, err = c.rpc.DispatchCall(ctx, method, params)
		return err
	})
	if errors.Is(err, ErrClosed) {
		err = unsent{err}
	}
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	err = w.Wait(ctx, result)
	if e, ok := errors.AsType[*jsonrpc2.Error](err); ok {
		return fromWire(e)
	}
	if errors.Is(err, jsonrpc2.ErrClosed) {
		err = closedBy(c.s.why())
	}
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	return nil
}

// Notify tells without an answer. It returns when the kernel has the bytes, or
// as Call does.
func (c *Conn) Notify(ctx context.Context, method string, params any) error {
	err := c.send(ctx, params, func(params any) error { return c.rpc.Notify(ctx, method, params) })
	if err != nil {
		return fmt.Errorf("notify %s: %w", method, err)
	}
	return nil
}

// send lets write block no longer than ctx: jsonrpc2 ignores ctx while it
// writes or waits for another write. params are encoded first, because the
// caller may change them once send has returned.
func (c *Conn) send(ctx context.Context, params any, write func(params any) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if params != nil {
		raw, err := json.Marshal(params)
		if err != nil {
			return err
		}
		params = json.RawMessage(raw)
	}
	written := make(chan error, 1)
	go func() { written <- write(params) }()
	select {
	case err := <-written:
		return c.sent(ctx, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sent explains a failed write by what the read loop learns: the peer may have
// said why before it closed.
func (c *Conn) sent(ctx context.Context, err error) error {
	if _, unsent := errors.AsType[errFrameSize](err); err == nil || unsent {
		return err
	}
	select {
	case <-c.Done():
		return closedBy(c.s.why())
	case <-ctx.Done():
		return closedBy(bare(err))
	}
}

// Done is closed when the connection is over; handlers may still be returning.
func (c *Conn) Done() <-chan struct{} { return c.rpc.DisconnectNotify() }

// Err is nil while the connection lives, and then why it ended: ErrClosed
// with its cause.
func (c *Conn) Err() error {
	select {
	case <-c.Done():
		return closedBy(c.s.why())
	default:
		return nil
	}
}

// Close ends the connection; answers not yet written are lost. It does not wait
// for handlers. Further calls do nothing.
func (c *Conn) Close() error {
	if err := c.rpc.Close(); err != nil && !errors.Is(err, jsonrpc2.ErrClosed) {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}

// Finish closes the connection once every request that the peer could send is answered, and lets it send no more; when ctx ends
// first it closes at once. Where the kernel drops what was sent and not read (macOS) those requests are lost.
func (c *Conn) Finish(ctx context.Context) error {
	c.answered(ctx)
	// From here on the peer can't send; what it has sent is still read: shutdown(2), unix(7).
	drained := c.s.drained
	if !c.s.closeRead() {
		if !c.s.last.Load() {
			return c.Close()
		}
		drained = nil // it ends by itself, when that one request is answered
	}
	select {
	case <-drained:
		c.answered(ctx)
	case <-c.Done():
	case <-ctx.Done():
	}
	return c.Close()
}

// answered waits until no request is being handled, or waits for that.
func (c *Conn) answered(ctx context.Context) {
	for !c.still(ctx) {
		select {
		case <-time.After(time.Millisecond): // those that were put off take their turn
		case <-c.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// still waits until none is being handled, and reports whether no other one waits for its turn.
func (c *Conn) still(ctx context.Context) bool {
	taken := 0
	defer func() {
		for range taken {
			<-c.slots
		}
	}()
	// Whoever has every slot knows that nobody else has one; a slot is given
	// back after the answer is written.
	for ; taken < cap(c.slots); taken++ {
		select {
		case c.slots <- struct{}{}:
		case <-c.Done():
			return true
		case <-ctx.Done():
			return true
		}
	}
	c.amu.Lock()
	defer c.amu.Unlock()
	return c.suspended || len(c.again) == 0
}

// Wait returns when the connection is over and every handler has returned. A
// handler must not call it.
func (c *Conn) Wait() {
	<-c.Done() // a moment after the read loop has ended
	c.active.Wait()
}

// Creds are the peer's; Uid is -1 where there are none to be had.
func (c *Conn) Creds() Creds { return c.creds }
