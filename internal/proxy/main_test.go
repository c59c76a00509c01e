package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience bounds every wait: far above what anything takes.
const patience = 60 * time.Second

const helperVar = "PROXY_TEST_HELPER"

func TestMain(m *testing.M) {
	role := os.Getenv(helperVar)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	time.AfterFunc(2*patience, func() { os.Exit(99) }) // nothing outlives a broken test for long
	if err := helpers[role](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// pairs are the kinds of sockets that a client and a service may have.
var pairs = [][2]string{{"tcp", "tcp"}, {"tcp", "unix"}, {"unix", "tcp"}, {"unix", "unix"}}

// house is a proxy with a listener before it and one behind it.
type house struct {
	t        *testing.T
	mu       sync.Mutex // guards proxy, whose next connection may come while it is replaced
	proxy    *Proxy
	front    net.Listener
	back     net.Listener
	accepted chan net.Conn
}

// newHouse makes one whose service is whatever the test does with the connections that accept gives.
func newHouse(t *testing.T, client, service string, changed func(int)) *house {
	t.Helper()
	h := &house{t: t, front: listen(t, client), back: listen(t, service), accepted: make(chan net.Conn, 2000)}
	h.proxy = New(h.reach, changed)
	ended := make(chan struct{}, 2)
	go each(h.front, ended, func(c net.Conn) {
		h.mu.Lock()
		p := h.proxy
		h.mu.Unlock()
		p.Serve(c, nil)
	})
	go each(h.back, ended, func(c net.Conn) { h.accepted <- c })
	t.Cleanup(func() {
		h.front.Close()
		h.proxy.Close()
		h.back.Close()
		<-ended
		<-ended
		close(h.accepted)
		for c := range h.accepted {
			c.Close()
		}
	})
	return h
}

func (h *house) reach(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, h.back.Addr().Network(), h.back.Addr().String())
}

// use has the connections that come from now on served by another proxy.
func (h *house) use(p *Proxy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.proxy = p
}

func each(l net.Listener, ended chan<- struct{}, f func(net.Conn)) {
	defer func() { ended <- struct{}{} }()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f(c)
	}
}

func listen(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "hob-p-") // a short path: unix(7)
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// connect gives both ends of a connection through the proxy.
func (h *house) connect() (client, service stream) {
	h.t.Helper()
	client = h.dial()
	return client, h.next()
}

// next is the service's end of the next connection.
func (h *house) next() stream {
	h.t.Helper()
	select {
	case c := <-h.accepted:
		return h.own(c)
	case <-time.After(patience):
		h.t.Fatal("the service was not reached")
	}
	return nil
}

func (h *house) dial() stream {
	h.t.Helper()
	c, err := net.Dial(h.front.Addr().Network(), h.front.Addr().String())
	require.NoError(h.t, err)
	return h.own(c)
}

// own has a connection closed with the test, and no read or write of it wait for ever.
func (h *house) own(c net.Conn) stream {
	h.t.Helper()
	h.t.Cleanup(func() { c.Close() })
	require.NoError(h.t, c.SetDeadline(time.Now().Add(patience)))
	return c.(stream)
}

func (h *house) empty() {
	h.t.Helper()
	eventually(h.t, "no connection is open", func() bool { return h.proxy.Open() == 0 })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	require.Equal(t, text, string(b))
}

// rest is what c says up to its end.
func rest(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(b)
}

func reset(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.(*net.TCPConn).SetLinger(0))
	require.NoError(t, c.Close())
}
