package sockets

import (
	"bytes"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzUnixTable: of any /proc/net/unix, unix(7), absolute paths that stand in a line of it.
func FuzzUnixTable(f *testing.F) {
	if text, err := os.ReadFile("/proc/self/net/unix"); err == nil && len(text) < 1<<14 {
		f.Add(text)
	}
	for _, s := range []string{
		"Num       RefCount Protocol Flags    Type St Inode Path\n0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/x y\n",
		"0: 2 0 00010000 0001 01 7 @abstract\n", "0: 2 0 00010000 0001 01 -7 /x\n", "0: 2 0 ffffffffffffffffff 0001 01 7 /x\n", "0: 2 0 10000 1 1 7 / \n/x\n", "\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all := parseUnixTable(text)
		require.LessOrEqual(t, len(all), bytes.Count(text, []byte("/")))
		for _, n := range all {
			require.Equal(t, "unix", n.Network)
			require.Equal(t, byte('/'), n.Addr[0])
			require.NotContains(t, n.Addr, "\n")
			require.Contains(t, string(text), strconv.FormatUint(n.inode, 10))
		}
	})
}

// FuzzTable: of any proc_net_tcp(5), listeners that have an address, no more than there are lines.
func FuzzTable(f *testing.F) {
	for _, path := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		if text, err := os.ReadFile(path); err == nil {
			f.Add(text)
		}
	}
	for _, s := range []string{
		"  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 x 100 0 0 10 0\n",
		"0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 7\n",
		"0: :1F90 0 0A 0 0 0 0 0 0", "0: 0100007F:FFFFF 0 0A 0 0 0 0 0 0", "0: 0100007F 0 0A 0 0 0 0 0 0", "0: 01:1 0 0A 0 0 0 -1 0 -1", "\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parseTable(text)
		if err != nil {
			require.Empty(t, all)
			return
		}
		require.LessOrEqual(t, len(all), bytes.Count(text, []byte(stateListen)))
		for _, l := range all {
			require.True(t, l.Addr.IsValid())
			require.Empty(t, l.Addr.Addr().Zone())
		}
	})
}
