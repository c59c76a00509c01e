package proxy

import (
	"context"
	"io"
	"net"
	"testing"
)

// The three ways to a service: none between, what io.Copy alone would be, and the proxy.
var ways = map[string]func(b *testing.B, to net.Addr) (net.Conn, func()){
	"direct": func(b *testing.B, to net.Addr) (net.Conn, func()) { return dialFor(b, to), func() {} },
	"io.Copy": func(b *testing.B, to net.Addr) (net.Conn, func()) {
		client, accepted, service := pairFor(b, to)
		go func() { _, _ = io.Copy(accepted, service); accepted.Close() }()
		go func() { _, _ = io.Copy(service, accepted); service.Close() }()
		return client, func() {}
	},
	"proxy": func(b *testing.B, to net.Addr) (net.Conn, func()) {
		client, accepted, service := pairFor(b, to)
		p := New(func(context.Context) (net.Conn, error) { return service, nil }, nil)
		p.Serve(accepted, nil)
		return client, p.Close
	},
}

func dialFor(b *testing.B, to net.Addr) net.Conn {
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func pairFor(b *testing.B, to net.Addr) (client, accepted, service net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	client = dialFor(b, l.Addr())
	if accepted, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	return client, accepted, dialFor(b, to)
}

// eachWay runs f with a connection to an echo.
func eachWay(b *testing.B, f func(b *testing.B, c net.Conn)) {
	for name, way := range ways {
		b.Run(name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				if c, err := l.Accept(); err == nil {
					defer c.Close()
					_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 128<<10))
				}
			}()
			c, end := way(b, l.Addr())
			defer end()
			defer c.Close()
			b.ResetTimer()
			f(b, c)
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	eachWay(b, func(b *testing.B, c net.Conn) {
		buf := make([]byte, 64)
		for b.Loop() {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkThroughput(b *testing.B) {
	eachWay(b, func(b *testing.B, c net.Conn) {
		const piece = 1 << 20
		b.SetBytes(piece)
		go func() {
			buf := make([]byte, piece)
			for range b.N {
				_, _ = c.Write(buf)
			}
		}()
		buf := make([]byte, piece)
		for range b.N {
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
