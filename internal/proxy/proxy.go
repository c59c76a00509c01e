// Package proxy forwards connections to a place, both ways, for a service that cannot take a socket over: hobd accepts,
// and what the client and the service say to each other passes through as if there were nothing between them. An end of
// one direction is passed on as that and no more, a reset as a reset.
//
// It never listens, never looks at the bytes, and never decides whether a service is to run.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialTime is how long a client waits for the service to let it in.
const dialTime = 10 * time.Second

// Proxy forwards connections to one place. Its methods may be called by several goroutines.
type Proxy struct {
	dial    func(context.Context) (net.Conn, error)
	changed func(open int)
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc

	mu     sync.Mutex
	wg     sync.WaitGroup
	closed bool
	links  map[*link]struct{}
	served uint64
	counts []int // for changed, not told yet
	told   bool  // somebody tells
}

// New returns a proxy to where dial connects to: a *net.TCPConn or a stream *net.UnixConn. Each connection dials once, and
// again for as long as it is told that nobody listens; the context ends with Close, or 10 s after the connection came.
//
// changed may be nil. It is called with the number of connections each time that has changed: in the order of the changes,
// one call at a time, outside of any lock and never by the caller of Serve, so a moment later. It may call any method but Close.
func New(dial func(context.Context) (net.Conn, error), changed func(open int)) *Proxy {
	p := &Proxy{dial: dial, changed: changed, links: map[*link]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Serve takes the client's connection over, a *net.TCPConn or a stream *net.UnixConn that nobody has wrapped, and returns at
// once. It is counted from this call until both directions have ended. After Close the client is closed, and that is all.
//
// refused may be nil. Where the service cannot be reached it is called with the reason, before the client is closed and without a byte
// of the client's read; it may write to the client. Close does not call it.
func (p *Proxy) Serve(client net.Conn, refused func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		client.Close()
		return
	}
	l := newLink(client)
	p.start(l, func() { p.run(l, refused) })
}

// start counts the link for as long as run takes. The caller holds the lock.
func (p *Proxy) start(l *link, run func()) {
	p.links[l] = struct{}{}
	p.tell()
	p.wg.Go(func() {
		defer p.forget(l)
		defer close(l.stopped)
		run()
	})
}

// Open is the number of connections now.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Served is the number of connections that reached the service, ever.
func (p *Proxy) Served() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// Close resets all connections and waits until nothing of them is left, changed and refused included; Open is 0 then. It may be called
// again.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.end(true) // before cancel, which would have one that dials end as if it had been refused
	}
	p.cancel()
	p.mu.Unlock()
	p.wg.Wait()
}

// errEnded is for a connection that was closed before it had reached the service.
var errEnded = errors.New("the connection has ended")

func (p *Proxy) run(l *link, refused func(error)) {
	switch err := p.connect(l); {
	case err == nil:
		l.forward()
		return
	case err == errHalted:
		return
	case refused != nil && p.ctx.Err() == nil && err != errEnded:
		refused(err)
	}
	l.end(false)
}

// connect gives the link its other end.
func (p *Proxy) connect(l *link) error {
	client, err := streamOf(l.client)
	if err != nil {
		return fmt.Errorf("forward the client: %w", err)
	}
	ctx, cancel := l.dialling(p.ctx)
	defer cancel()
	conn, err := persist(ctx, l.halted, p.dial)
	switch {
	case err == errHalted, err != nil && ctx.Err() != nil && l.isHalted():
		return errHalted
	case err != nil:
		return fmt.Errorf("connect to the service: %w", err)
	}
	service, err := streamOf(conn)
	if err != nil {
		conn.Close()
		return fmt.Errorf("connect to the service: %w", err)
	}
	if !l.join(client, service) {
		return errEnded
	}
	p.mu.Lock()
	p.served++
	p.mu.Unlock()
	return nil
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	p.tell()
}

// tell has changed called with the number of connections. The caller holds the lock, and is counted or not closed.
func (p *Proxy) tell() {
	if p.changed == nil {
		return
	}
	p.counts = append(p.counts, len(p.links))
	if p.told {
		return
	}
	p.told = true
	p.wg.Go(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for len(p.counts) > 0 {
			open := p.counts[0]
			p.counts = p.counts[1:]
			p.mu.Unlock()
			p.changed(open)
			p.mu.Lock()
		}
		p.told = false
	})
}
