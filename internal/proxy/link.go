package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stream is a socket of which one direction can be ended.
type stream interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// streamOf refuses what has no half-close, or would keep the kernel from moving the bytes itself.
func streamOf(c net.Conn) (stream, error) {
	switch c := c.(type) {
	case *net.TCPConn:
		return c, nil
	case *net.UnixConn:
		if a := c.LocalAddr(); a == nil || a.Network() == "unix" {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%T is not a stream socket", c)
}

// link is a client and the service it talks to.
type link struct {
	client  net.Conn
	halted  chan struct{} // closed when it is to stop where it is
	stopped chan struct{} // closed when nothing of it goes on

	mu      sync.Mutex
	service net.Conn           // nil until join
	giveUp  context.CancelFunc // nil until it dials
	ended   bool

	a, b   stream       // client and service
	eofs   atomic.Int32 // directions that have ended, all of their bytes passed on
	aEnded atomic.Bool  // what the client has to say has ended
	bEnded atomic.Bool
}

func newLink(client net.Conn) *link {
	return &link{client: client, halted: make(chan struct{}), stopped: make(chan struct{})}
}

// dialling returns the context to reach the service in.
func (l *link) dialling(parent context.Context) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(parent, dialTime)
	l.giveUp = cancel
	return ctx, cancel
}

// join gives the link its service. When the link has ended meanwhile it closes that, and returns false.
func (l *link) join(client, service stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		service.Close()
		return false
	}
	l.service, l.a, l.b = service, client, service
	if l.isHalted() {
		l.interrupt()
	}
	return true
}

// end closes both sides, if nobody did before. With reset, neither can take it for the end of what the other had to say.
func (l *link) end(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	for _, c := range []net.Conn{l.client, l.service} {
		if c == nil {
			continue
		}
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
}

// forward returns when both directions have ended, or stopped.
func (l *link) forward() {
	var wg sync.WaitGroup
	wg.Go(func() { l.pass(l.b, l.a, &l.aEnded) })
	l.pass(l.a, l.b, &l.bEnded)
	wg.Wait()
}

// halt has both directions stop before the next byte that they would take, or before the next attempt to reach the service. It is called
// once, and does not wait.
func (l *link) halt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.halted)
	if l.service != nil {
		l.interrupt()
	}
}

func (l *link) isHalted() bool {
	select {
	case <-l.halted:
		return true
	default:
		return false
	}
}

func (l *link) interrupt() {
	_ = l.a.SetReadDeadline(longAgo)
	_ = l.b.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// pass is one direction, until the link has ended. ended is that of src.
func (l *link) pass(dst, src stream, ended *atomic.Bool) {
	if !ended.Load() && !l.passAll(dst, src, ended) {
		return
	}
	// Nobody reads src from here on, so nobody would be told that it is reset, and an idle service would keep the connection.
	reset, gone := watch(src)
	if gone {
		l.end(reset)
	}
}

// passAll passes on what src says and its end. It reports false when nothing is to be done any more.
func (l *link) passAll(dst, src stream, ended *atomic.Bool) bool {
	err := move(dst, src)
	if l.isHalted() && errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if err != nil {
		l.end(true)
		return false
	}
	ended.Store(true)
	// Counted before the end is passed on: the other direction may see it before this one has said so.
	if l.eofs.Add(1) == 2 {
		l.end(false)
		return false
	}
	if err := dst.CloseWrite(); err != nil {
		l.end(true) // nobody is there; or the link has ended, and this does nothing
		return false
	}
	return true
}
