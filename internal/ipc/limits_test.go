package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// serveAll accepts until Close and answers with echo. conns is called for each.
func serveAll(l *Listener, conns func(*Conn)) error {
	for {
		nc, err := l.Accept(nil)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		conns(NewConn(context.Background(), nc, ConnOptions{Handler: echo}))
	}
}

func TestServerWithoutDescriptorsGoesOn(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	h := startHelper(t, "starved", dir.Name())
	require.Equal(t, "ready", h.line(t))

	const clients = 60 // the helper has room for fewer than 32
	release, answered := make(chan struct{}), make(chan error, clients)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			nc, err := Connect(ctx, dir, "s")
			if err != nil {
				answered <- err
				return
			}
			c := NewConn(ctx, nc, ConnOptions{})
			defer func() { _ = c.Close(); c.Wait() }()
			answered <- c.Call(ctx, "m", nil, nil)
			<-release
		})
	}
	for range 5 {
		require.NoError(t, <-answered)
	}
	// It tells once it has run out.
	require.Equal(t, "starved", h.line(t))
	require.Less(t, len(answered)+5, clients)
	close(release)
	for range clients - 5 {
		require.NoError(t, <-answered)
	}
	all.Wait()
	require.NoError(t, h.stdin.Close())
	require.NoError(t, h.cmd.Wait())
}

func helpStarved(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	l, err := Listen(dir, "s")
	if err != nil {
		return err
	}
	if err := l.Publish(); err != nil {
		return err
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	lim.Cur = 32
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		for {
			fd, err := unix.Dup(0)
			if err != nil {
				break
			}
			_ = unix.Close(fd)
			time.Sleep(time.Millisecond) // a poll, until the descriptors are used up
		}
		fmt.Println("starved")
	}()
	go func() { // also when the test died: no helper outlives it
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = l.Close()
	}()
	return serveAll(l, func(*Conn) {})
}

const silentClients = 10_000

func TestTenThousandSilentConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand connections")
	}
	var lim unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	if lim.Cur < silentClients+500 {
		t.Skipf("RLIMIT_NOFILE is %d", lim.Cur)
	}
	dir := tempDir(t)
	l := published(t, dir)
	var conns []*Conn
	served := make(chan error, 1)
	go func() { served <- serveAll(l, func(c *Conn) { conns = append(conns, c) }) }()

	h := startHelper(t, "silent", dir.Name())
	require.Equal(t, "connected", h.line(t))
	raw, err := connectWhenRoom(t.Context(), dir)
	require.NoError(t, err)
	c := NewConn(t.Context(), raw, ConnOptions{})
	require.NoError(t, c.Call(t.Context(), "hob.hello", nil, nil))
	require.NoError(t, c.Close())
	c.Wait()

	require.NoError(t, h.stdin.Close())
	require.NoError(t, h.cmd.Wait())
	require.NoError(t, l.Close())
	require.NoError(t, <-served)
	require.Len(t, conns, silentClients+1)
	for _, c := range conns {
		within(t, "Done", c.Done())
		c.Wait()
	}
}

// connectWhenRoom polls while the backlog is full, until ctx has ended.
func connectWhenRoom(ctx context.Context, dir *os.File) (*net.UnixConn, error) {
	for {
		c, err := Connect(ctx, dir, "s")
		if !errors.Is(err, unix.EAGAIN) || ctx.Err() != nil {
			return c, err
		}
		time.Sleep(time.Millisecond)
	}
}

func helpSilent(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, 0, silentClients)
	for len(conns) < silentClients {
		c, err := connectWhenRoom(context.Background(), dir)
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	fmt.Println("connected")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
