package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/jsonrpc2"
)

// Suspended is a server's connection between two requests, as it can be passed on to another process together with its
// descriptor: see [Conn.Suspend] and [ConnOptions].Resume. It is what encoding/json makes of it.
type Suspended struct {
	Spoken  bool        `json:"spoken,omitempty"`  // a first frame was read
	Headers bool        `json:"headers,omitempty"` // the framing is Content-Length
	Ahead   []byte      `json:"ahead,omitempty"`   // read from the socket, and not yet a request
	Again   []Unsettled `json:"again,omitempty"`
}

// Unsettled is a request that was read and not answered, because its handler returned ErrAgain.
type Unsettled struct {
	ID           json.RawMessage `json:"id,omitempty"`
	Method       string          `json:"method"`
	Params       json.RawMessage `json:"params,omitempty"`
	Notification bool            `json:"notification,omitempty"`
}

// ErrAgain is what a handler returns whose request is to be handled again, from the beginning, once the connection is
// resumed, by this process or by another one. The peer sees nothing of it.
var ErrAgain = errors.New("to be handled again")

// gate is where the read loop stops between two frames.
type gate struct {
	kick func(time.Time) error // sets the read deadline

	mu      sync.Mutex // guards all below, and the read deadline while the loop is between two frames
	wanted  bool
	between bool          // the loop waits for a frame's first byte
	kicked  bool          // its deadline was changed since it set it
	parked  chan struct{} // closed when it has stopped; nil: it was not asked to
	resumed chan struct{} // closed when it may go on
}

// enter is called by the read loop when it is between two frames and has set its deadline. It blocks while the connection is
// suspended, and has the deadline set again when that was changed.
func (g *gate) enter(deadline func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.wanted {
		resumed := g.resumed
		select {
		case <-g.parked:
		default:
			close(g.parked)
		}
		g.mu.Unlock()
		<-resumed
		g.mu.Lock()
		g.kicked = true // by open
	}
	if g.kicked {
		deadline()
	}
	g.between, g.kicked = true, false
}

// leave is called when the first byte is there, or could not be read. It reports false when the loop has to enter again
// first.
func (g *gate) leave() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.between = false
	return !g.wanted && !g.kicked
}

// shut has the loop stop at the end of the frame that it reads.
func (g *gate) shut() (parked <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.wanted {
		g.wanted, g.parked, g.resumed = true, make(chan struct{}), make(chan struct{})
		if g.between {
			g.kicked = true
			_ = g.kick(longAgo)
		}
	}
	return g.parked
}

// open lets it go on.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wanted {
		g.wanted = false
		if g.kicked {
			_ = g.kick(time.Time{})
		}
		close(g.resumed)
	}
}

// Suspend has the connection read no further than the end of the request that is coming in, and waits until every
// request that was read is answered, or its handler has returned ErrAgain. The peer sees nothing of it: what it sends meanwhile waits
// in the kernel. When ctx ends first, or the connection does, Suspend undoes what it did and reports why. It is for servers.
//
// After it, either Resume, or File and no further use of the connection by this process.
func (c *Conn) Suspend(ctx context.Context) (*Suspended, error) {
	err := c.quiet(ctx, c.Hush())
	if err != nil {
		c.Resume()
		return nil, err
	}
	s := &Suspended{Spoken: !c.s.frames.waiting, Headers: c.s.headers.Load()}
	s.Ahead = c.s.unread()
	c.amu.Lock()
	defer c.amu.Unlock()
	for _, u := range c.again {
		s.Again = append(s.Again, *u)
	}
	return s, nil
}

// Hush begins what Suspend completes, and does not wait. The channel is closed when nothing more is read.
func (c *Conn) Hush() <-chan struct{} {
	c.amu.Lock()
	defer c.amu.Unlock()
	c.suspended = true
	return c.s.gate.shut()
}

// quiet waits for the read loop to stop and for the handlers.
func (c *Conn) quiet(ctx context.Context, parked <-chan struct{}) error {
	select {
	case <-parked:
	case <-c.Done():
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	taken := 0
	defer func() {
		for range taken {
			<-c.slots
		}
	}()
	// Whoever has every slot knows that nobody else has one.
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
			taken++
		case <-c.Done():
			return c.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Resume goes on after Suspend: first with the requests that are to be handled again.
func (c *Conn) Resume() {
	c.s.shared.Store(false)
	c.amu.Lock()
	c.suspended = false
	c.repeat(c.again...)
	c.amu.Unlock()
	c.s.gate.open()
}

// repeat handles requests of c.again that another Conn, or this one earlier, has read. It is called with amu held.
func (c *Conn) repeat(all ...*Unsettled) {
	for _, u := range all {
		c.active.Add(1)
		go func() {
			select {
			case c.slots <- struct{}{}:
				if c.claim(u) {
					var id jsonrpc2.ID
					if len(u.ID) > 0 {
						_ = id.UnmarshalJSON(u.ID)
					}
					c.serve(c.ctx, id, &Request{Method: u.Method, Params: u.Params, Notification: u.Notification})
					return
				}
				<-c.slots
			case <-c.ctx.Done():
			}
			c.active.Done()
		}()
	}
}

// claim takes a request out of c.again, unless somebody else has, or the connection was suspended before its turn came.
func (c *Conn) claim(u *Unsettled) bool {
	c.amu.Lock()
	defer c.amu.Unlock()
	i := slices.Index(c.again, u)
	if i < 0 || c.suspended {
		return false
	}
	c.again = slices.Delete(c.again, i, i+1)
	return true
}

// putOff notes a request for later, which is now if the connection has been resumed meanwhile.
func (c *Conn) putOff(id jsonrpc2.ID, r *Request) {
	u := &Unsettled{Method: r.Method, Params: r.Params, Notification: r.Notification}
	if !r.Notification {
		u.ID, _ = id.MarshalJSON()
	}
	c.amu.Lock()
	defer c.amu.Unlock()
	c.again = append(c.again, u)
	if !c.suspended {
		c.repeat(u)
	}
}

// File gives a duplicate of the connection's descriptor, which the caller closes. The connection goes on using its own, and until Resume its Close
// does not end what the duplicate stands for.
func (c *Conn) File() (*os.File, error) {
	f, ok := c.s.nc.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, errors.New("the connection has no descriptor")
	}
	c.s.shared.Store(true)
	return f.File()
}
