package hob

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
)

// TestALeaseGrantedDuringAnUpgradeIsLeft to the next program: one whose hello was read before the connection was suspended, and is answered after that has
// begun.
func TestALeaseGrantedDuringAnUpgradeIsLeft(t *testing.T) {
	t.Parallel()
	s := newServer(instance.Instance{}, nil, nil)
	said, answer := make(chan struct{}), make(chan struct{})
	a, b := socketPair(t)
	conn := ipc.NewConn(t.Context(), a, ipc.ConnOptions{Handler: func(_ context.Context, c *ipc.Conn, r *ipc.Request) (any, error) {
		close(said)
		<-answer
		s.conns.meet(c, whoIs(r.Params))
		return probe.HelloReply{}, nil
	}})
	defer conn.Close()
	s.conns.add(conn, peer{})
	client := ipc.NewConn(t.Context(), b, ipc.ConnOptions{})
	defer client.Close()
	greeted := make(chan error, 1)
	go func() {
		_, err := probe.HelloMethod.Call(t.Context(), client, probe.Hello{Client: "hob", Pid: 42, Lease: true})
		greeted <- err
	}()
	<-said
	yield := s.yielding()
	h, files := &heritage{Conns: map[string]left{}}, map[string]*os.File{}
	suspended := make(chan error, 1)
	go func() { suspended <- s.suspend(t.Context(), s.conns.list(), h, files) }()
	<-yield
	close(answer)
	require.NoError(t, <-suspended)
	require.NoError(t, <-greeted)
	require.Len(t, h.Conns, 1)
	for name, l := range h.Conns {
		require.Equal(t, peer{Client: "hob", Pid: 42, Lease: true}, l.Peer)
		require.NoError(t, files[name].Close())
	}
}

// socketPair is a connection of which both ends are here.
func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	ends := make([]net.Conn, 2)
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "pair")
		ends[i], err = net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	return ends[0], ends[1]
}
