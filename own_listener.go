package hob

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/hobworks/hob/internal/ipc"
)

// errLeaving is for a connection that comes when the daemon leaves.
var errLeaving = errors.New("the daemon is leaving")

// ownListener gives the connections of the program's own protocol to ServeOptions.Accept. Who was
// welcomed gets there, also when the daemon begins to leave in the same moment.
type ownListener struct {
	addr net.Addr

	mu      sync.Mutex // guards all below
	changed *sync.Cond
	open    bool                   // somebody accepts
	leaving bool                   // no more come
	over    bool                   // there is no more grace
	runs    bool                   // Accept has not returned
	coming  int                    // that are being welcomed
	queue   []*ownConn             // not yet accepted
	all     map[*ipc.Conn]*ownConn // not yet closed, by what they were before
}

// ownConn is one of them. Close ends its lease.
type ownConn struct {
	*ipc.RawConn
	l     *ownListener
	was   *ipc.Conn
	ended chan struct{}
	once  sync.Once
}

func newOwnListener(path string, open bool) *ownListener {
	l := &ownListener{addr: &net.UnixAddr{Name: path, Net: "unix"}, open: open, all: map[*ipc.Conn]*ownConn{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// expect announces a connection, which add brings.
func (l *ownListener) expect() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.open:
		return &Error{Code: codeNoStream, Message: "this daemon answers JSON-RPC only"}
	case l.leaving:
		return errLeaving
	}
	l.coming++
	return nil
}

// add brings the connection that was expected; nil: it ended meanwhile.
func (l *ownListener) add(was *ipc.Conn, raw *ipc.RawConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming--
	l.changed.Broadcast()
	switch {
	case raw == nil:
	case !l.open || l.over:
		raw.Close()
	default:
		c := &ownConn{RawConn: raw, l: l, was: was, ended: make(chan struct{})}
		l.all[was] = c
		l.queue = append(l.queue, c)
	}
}

// Accept waits for the next connection. It returns net.ErrClosed after Close, and when the daemon
// leaves, once those that were welcomed before are accepted.
func (l *ownListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 {
		if !l.open || l.over || l.leaving && l.coming == 0 {
			return nil, net.ErrClosed
		}
		l.changed.Wait()
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

// Close refuses the connections that come from now on, and closes those not yet accepted.
func (l *ownListener) Close() error {
	l.mu.Lock()
	l.open = false
	rest := l.queue
	l.queue = nil
	l.changed.Broadcast()
	l.mu.Unlock()
	for _, c := range rest {
		c.Close()
	}
	return nil
}

// Addr is the daemon's socket.
func (l *ownListener) Addr() net.Addr { return l.addr }

// begin and end are around the program's Accept.
func (l *ownListener) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = true
}

func (l *ownListener) end() {
	_ = l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = false
	l.changed.Broadcast()
}

// leave is the moment from which no more come.
func (l *ownListener) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
	l.changed.Broadcast()
}

// finish returns when every connection is closed and Accept has returned; when ctx ends first,
// it closes what is left.
func (l *ownListener) finish(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	for ctx.Err() == nil && (l.runs || l.coming > 0 || len(l.all) > 0) {
		l.changed.Wait()
	}
	l.over = true
	l.changed.Broadcast()
	rest := slices.Collect(maps.Values(l.all))
	l.mu.Unlock()
	for _, c := range rest {
		c.Close()
	}
}

// wait returns when the connection that c became is closed; at once when it became none.
func (l *ownListener) wait(c *ipc.Conn) {
	l.mu.Lock()
	own := l.all[c]
	l.mu.Unlock()
	if own != nil {
		<-own.ended
	}
}

// Close ends the connection. Further calls report net.ErrClosed.
func (c *ownConn) Close() error {
	err := c.RawConn.Close()
	c.once.Do(func() {
		c.l.mu.Lock()
		delete(c.l.all, c.was)
		c.l.changed.Broadcast()
		c.l.mu.Unlock()
		close(c.ended)
	})
	return err
}

// names are those of the clients that have such a connection, of which nobody knows where it could be passed on; gone are those
// that have closed theirs, which may not be read to the end yet.
func (l *ownListener) names(peers map[*ipc.Conn]peer) (names, gone []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for was := range l.all {
		if who := peers[was].String(); was.HungUp() {
			gone = append(gone, who)
		} else {
			names = append(names, who)
		}
	}
	slices.Sort(names)
	return names, gone
}
