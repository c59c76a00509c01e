package supervisor

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// TestThereAndBackKeepsTheSocket: settings with another address, and then those of before again, all during one stop, reset nobody who waits.
func TestThereAndBackKeepsTheSocket(t *testing.T) {
	s := testSupervisor(t).with(map[string][]string{"web": nil})
	v, dir := s.all["web"], t.TempDir()
	at := func(name string) service.Spec {
		return service.Spec{Name: "web", Listen: service.Listen{Address: service.Address{Network: "unix", Addr: filepath.Join(dir, name)}}}
	}
	v.st.Spec = at("old")
	require.NoError(t, v.hold())
	sock := v.front.sock
	c, err := net.Dial("unix", filepath.Join(dir, "old"))
	require.NoError(t, err)
	defer c.Close()
	v.st.State = service.Stopping
	v.setSpec(at("new"))
	require.False(t, v.st.Held, "the next hobd does not take it for the new one")
	v.setSpec(at("old"))
	require.True(t, v.st.Held)
	v.release()
	require.Same(t, sock, v.front.sock)
	n, err := sock.Count()
	require.NoError(t, err)
	require.Equal(t, 1, n.Waiting)

	v.setSpec(at("new"))
	v.release()
	require.Nil(t, v.front.sock)
	require.False(t, v.st.Held)
}

// TestNobodyStartsNothing: a word that a connection waits which comes late, when that was accepted long since, is no start.
func TestNobodyStartsNothing(t *testing.T) {
	s := testSupervisor(t).with(map[string][]string{"web": nil})
	v, addr := s.all["web"], filepath.Join(t.TempDir(), "web")
	v.st.Cmd, v.st.Dir, v.st.Idle = []string{"/nonexistent/web"}, "/", time.Hour
	v.st.Listen.Address = service.Address{Network: "unix", Addr: addr}
	v.rested()
	require.Equal(t, service.Idle, v.st.State)
	defer v.unhold()
	v.handle(event{kind: evConnect})
	require.Equal(t, service.Idle, v.st.State)
	require.Zero(t, v.st.Generation)

	c, err := net.Dial("unix", addr)
	require.NoError(t, err)
	defer c.Close()
	v.handle(event{kind: evConnect})
	require.Equal(t, service.Failed, v.st.State, "it was tried")
	require.Equal(t, 1, v.st.Generation)
}
