package proxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
)

// Link is a connection between two bytes of it, as it can be passed on to another process.
type Link struct {
	Client, Service           *os.File // Service nil: it was not reached yet
	ClientEnded, ServiceEnded bool     // that side has said all it had to say, and that was passed on
}

// HandOver stops in the middle of every connection and gives them away, without a byte lost or a peer that notices. The proxy is closed then. A
// connection whose one side does not take what the other has said until ctx ends is reset: what is on its way can't be given away. The caller
// closes the files.
func (p *Proxy) HandOver(ctx context.Context) []Link {
	p.mu.Lock()
	p.closed = true
	all := make([]*link, 0, len(p.links))
	for l := range p.links {
		all = append(all, l)
	}
	p.mu.Unlock()
	var mu sync.Mutex // guards links
	var links []Link
	var wg sync.WaitGroup
	for _, l := range all {
		wg.Go(func() {
			if given, ok := l.give(ctx); ok {
				mu.Lock()
				links = append(links, given)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	p.Close()
	return links
}

// give stops the link and duplicates its ends. ok is false for one that ends.
func (l *link) give(ctx context.Context) (given Link, ok bool) {
	l.halt()
	select {
	case <-l.stopped:
	case <-ctx.Done():
		l.hurry()
		<-l.stopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return given, false
	}
	// The descriptors of here end.
	l.ended = true
	defer l.client.Close()
	client, err := fileOf(l.client)
	if err != nil || l.service == nil {
		return Link{Client: client}, err == nil
	}
	defer l.service.Close()
	service, err := fileOf(l.service)
	if err != nil {
		client.Close()
		return given, false
	}
	return Link{Client: client, Service: service, ClientEnded: l.aEnded.Load(), ServiceEnded: l.bEnded.Load()}, true
}

// hurry is for a link that was halted and has not stopped. An attempt to reach the service is ended no sooner: it may just have
// succeeded, and the service would see a connection that says nothing.
func (l *link) hurry() {
	l.mu.Lock()
	dialling := l.service == nil
	if dialling && l.giveUp != nil {
		l.giveUp()
	}
	l.mu.Unlock()
	if !dialling {
		l.end(true)
	}
}

func fileOf(c net.Conn) (*os.File, error) {
	f, ok := c.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", c)
	}
	return f.File()
}

// Take goes on with a connection that another process has given away. It takes over the files. One that had not reached the service is
// served as by Serve.
func (p *Proxy) Take(given Link, refused func(error)) error {
	client, err := net.FileConn(given.Client)
	given.Client.Close()
	if given.Service == nil {
		if err == nil {
			p.Serve(client, refused)
		}
		return err
	}
	service, serr := net.FileConn(given.Service)
	given.Service.Close()
	if err == nil {
		err = serr
	}
	var a, b stream
	if err == nil {
		a, err = streamOf(client)
	}
	if err == nil {
		b, err = streamOf(service)
	}
	if err != nil {
		for _, c := range []net.Conn{client, service} {
			if c != nil {
				c.Close()
			}
		}
		return err
	}
	l := newLink(client)
	l.aEnded.Store(given.ClientEnded)
	l.bEnded.Store(given.ServiceEnded)
	if given.ClientEnded != given.ServiceEnded {
		l.eofs.Store(1)
	}
	l.join(a, b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		l.end(true)
		return nil
	}
	p.start(l, l.forward)
	return nil
}
