// Package proxy forwards connections, both ways and with half-close kept, to a service that can't take a socket
// over. Bytes move by io.Copy, and so within the kernel where both sides are sockets of TCP or Unix (splice(2)).
//
// It knows no protocol, retries nothing but a connect, and never listens.
package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTime   = 10 * time.Second // for a service that has said it is ready, or is being restarted
	firstPause = 5 * time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// Proxy forwards connections to one place. Its methods may be called by several goroutines.
type Proxy struct {
	dial    func(context.Context) (net.Conn, error)
	changed func(open int)
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu     sync.Mutex // guards all below
	open   int
	served uint64
	closed bool
}

// New gives a proxy to where dial connects. changed, which may be nil, is called each time the number of connections has
// changed. The caller closes it.
func New(dial func(context.Context) (net.Conn, error), changed func(open int)) *Proxy {
	p := &Proxy{dial: dial, changed: changed}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Serve takes a client's connection over and returns at once. The connection counts until both directions have ended.
// refused, which may be nil, is called when the service can't be connected to; the client is closed then.
func (p *Proxy) Serve(client net.Conn, refused func(error)) {
	if !p.begin() {
		client.Close()
		return
	}
	go func() {
		defer p.end()
		defer client.Close()
		service, err := p.connect()
		if err != nil {
			if refused != nil && p.ctx.Err() == nil {
				refused(err)
			}
			return
		}
		defer service.Close()
		p.forward(client, service)
	}()
}

func (p *Proxy) begin() bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.work.Add(1)
	p.open++
	open := p.open
	p.mu.Unlock()
	p.tell(open)
	return true
}

func (p *Proxy) end() {
	p.mu.Lock()
	p.open--
	open := p.open
	p.mu.Unlock()
	p.tell(open)
	p.work.Done()
}

func (p *Proxy) tell(open int) {
	if p.changed != nil {
		p.changed(open)
	}
}

// connect tries again while nobody listens yet.
func (p *Proxy) connect() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, dialTime)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		conn, err := p.dial(ctx)
		if err == nil {
			p.mu.Lock()
			p.served++
			p.mu.Unlock()
			return conn, nil
		}
		if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// forward copies both ways until both have ended.
func (p *Proxy) forward(client, service net.Conn) {
	end := context.AfterFunc(p.ctx, func() {
		client.Close()
		service.Close()
	})
	defer end()
	var both sync.WaitGroup
	both.Go(func() { pass(service, client) })
	both.Go(func() { pass(client, service) })
	both.Wait()
}

// halfCloser is what a connection of TCP or Unix can do.
type halfCloser interface{ CloseWrite() error }

// pass copies from one side to the other, and passes on how that ended: an end as an end, anything else as a reset.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err == nil {
		if h, ok := to.(halfCloser); ok && h.CloseWrite() == nil {
			return
		}
	}
	for _, c := range []net.Conn{to, from} {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		c.Close()
	}
}

// Open is how many connections there are.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Served is how many connections have ever reached the service.
func (p *Proxy) Served() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// Close ends all connections and waits for that.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.work.Wait()
}
