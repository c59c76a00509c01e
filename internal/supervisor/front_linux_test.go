package supervisor

import (
	"net"
	"path/filepath"
	"testing"

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
