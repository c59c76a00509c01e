package lock

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// FuzzFlockLine: of any line of /proc/locks, a holder of the very file, or nobody; and the line of a holder names him.
func FuzzFlockLine(f *testing.F) {
	for _, s := range []string{
		"1: FLOCK  ADVISORY  WRITE 812 fe:01:1234 0 EOF", "2: -> FLOCK  ADVISORY  WRITE 813 fe:01:1234 0 EOF", "3: POSIX  ADVISORY  WRITE 812 fe:01:1234 0 EOF",
		"1: FLOCK ADVISORY WRITE -1 00:2b:18446744073709551615 0 EOF", "1: FLOCK ADVISORY WRITE x ffffffff:ffffffff:0 0 EOF", "1: FLOCK", "", ": FLOCK a b c d:e:f",
	} {
		f.Add(s, uint32(0xfe), uint32(1), uint64(1234), uint16(812))
	}
	f.Fuzz(func(t *testing.T, line string, major, minor uint32, ino uint64, pid uint16) {
		dev := unix.Mkdev(major, minor)
		if got, ok := flockLine(line, dev, ino); ok {
			require.GreaterOrEqual(t, got, 0)
			require.Contains(t, line, "FLOCK")
			require.Contains(t, line, fmt.Sprint(ino))
			_, other := flockLine(line, dev, ino+1)
			require.False(t, other, "of two files")
		}
		got, ok := flockLine(fmt.Sprintf("7: FLOCK  ADVISORY  WRITE %d %02x:%02x:%d 0 EOF", pid, major, minor, ino), dev, ino)
		require.True(t, ok)
		require.Equal(t, int(pid), got)
		_, ok = flockLine(strings.Replace(line, "FLOCK", "POSIX", 1), dev, ino)
		require.False(t, ok && !strings.Contains(strings.Replace(line, "FLOCK", "", 1), "FLOCK"))
	})
}
