package sockets

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestForgedLineLeadsNobodyAway: another user who binds a socket with a newline in its path writes a line into the list of Unix sockets which says
// that somebody's socket is his. In "control" the line is there.
func TestForgedLineLeadsNobodyAway(t *testing.T) {
	dir, err := os.MkdirTemp("", "f")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	tcp := listen(t, "tcp", "127.0.0.1:0")
	c, err := net.Dial("tcp", tcp.Addr().String()) // older than what listens, and in no list of listeners
	require.NoError(t, err)
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	require.NoError(t, err)
	defer f.Close()
	fi, err := f.Stat()
	require.NoError(t, err)
	inode := fi.Sys().(*syscall.Stat_t).Ino
	real := filepath.Join(dir, "real")
	listen(t, "unix", real)
	evil := filepath.Join(dir, "evil")
	line := fmt.Sprintf("x\n0: 2 0 10000 1 1 %d %s", inode, evil)
	at, err := os.Open(dir)
	require.NoError(t, err)
	defer at.Close()
	// The forged path is a name in this directory, with directories for its slashes.
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, line)), 0o700))
	listen(t, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", at.Fd(), line))

	places := func() []string {
		all, err := Own([]int{os.Getpid()})
		require.NoError(t, err)
		var addrs []string
		for _, p := range all {
			addrs = append(addrs, p.Addr)
		}
		return addrs
	}
	require.NotContains(t, places(), evil)
	require.Contains(t, places(), real)
	if os.Geteuid() == 0 {
		listen(t, "unix", evil)
		require.NoError(t, os.Chown(evil, 65534, 65534))
		require.NotContains(t, places(), evil, "another user's")
	}
	t.Run("control", func(t *testing.T) {
		all, err := unixListening()
		require.NoError(t, err)
		forged := 0
		for _, p := range all {
			if p.Addr == evil && p.inode == inode {
				forged++
			}
		}
		require.Equal(t, 1, forged, "%s", strings.TrimSpace(line))
	})
}
