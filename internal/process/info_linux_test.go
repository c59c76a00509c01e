package process

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStatReadsAnyCommandName(t *testing.T) {
	t.Parallel()
	sleep, err := LookPath("sleep", "/", nil)
	require.NoError(t, err)
	program, err := os.ReadFile(sleep)
	require.NoError(t, err)
	name := ") S 1 (\n)"
	path := filepath.Join(t.TempDir(), name)
	writeProgram(t, path, string(program))
	// The name that a multi-call binary goes by is its first argument.
	p, err := Start(Spec{Path: path, Args: []string{"sleep", "600"}})
	require.NoError(t, err)
	t.Cleanup(func() { end(t, p) })
	var info Info
	eventually(t, func() bool { // execve(2) closes our descriptors, which ends Start, before it gives the process its name
		info, err = Stat(p.ID().Pid)
		return err == nil && info.Command == name
	}, "it has its name")
	require.Equal(t, os.Getpid(), info.PPid)
	require.Equal(t, p.ID().Start, info.Start)
}

func TestUsageCountsWhatExists(t *testing.T) {
	t.Parallel()
	for range 50_000_000 { // some processor time of our own
		_ = os.Getpagesize()
	}
	var times unix.Tms
	_, err := unix.Times(&times)
	require.NoError(t, err)
	least := time.Duration(times.Utime+times.Stime) * tick
	cpu, rss := Usage([]int{os.Getpid(), 1 << 30})
	require.GreaterOrEqual(t, cpu, least)
	require.Greater(t, rss, int64(1<<20))
	cpu, rss = Usage(nil)
	require.Zero(t, cpu)
	require.Zero(t, rss)
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	line := "42 (a b) Z 1 42 41 0 -1 4228100 86 0 0 0 3 4 0 0 20 0 1 0 34087 2306048 10 18446744073709551615 0 0 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 1792\n"
	info, err := parseStat([]byte(line))
	require.NoError(t, err)
	require.Equal(t, Info{
		Pid: 42, PPid: 1, Group: 42, Session: 41, State: 'Z', Command: "a b", Threads: 1,
		Start: 34087, CPU: 70 * time.Millisecond, RSS: 10 * pageSize, ExitCode: 7 << 8,
	}, info)
	require.True(t, info.Dead())
	_, err = parseStat([]byte(strings.Replace(line, " 17 1 ", " -1 1 ", 1)))
	require.ErrorIs(t, err, os.ErrNotExist, "a thread")
	for _, bad := range []string{"", "42", "42 (a", "42 a) S 1", "x (a) S 1 2 3", line[:60], strings.Replace(line, "34087", "-1", 1)} {
		_, err := parseStat([]byte(bad))
		require.ErrorIs(t, err, errStatFormat, bad)
	}
}

// FuzzParseStat: of any line, the command that stands in it and a process that can be, or an error.
func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	require.NoError(f, err)
	f.Add(own)
	for _, s := range []string{
		"42 (a b) Z 1 42 41 0 -1 4228100 86 0 0 0 3 4 0 0 20 0 1 0 34087 2306048 10", "1 ())", "42 () S 1)) Z 1 42 41 0 -1 0 0 0 0 0 3 4 0 0 20 0 1 0 18446744073709551615 0 0",
		"42 (a) S 1 1 1 0 0 0 0 0 0 0 9223372036854775807 9223372036854775807 0 0 0 0 1 0 1 0 9223372036854775807", ") (", "(",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := parseStat(b)
		if err != nil {
			require.True(t, errors.Is(err, errStatFormat) || errors.Is(err, errThread), "%v", err)
			require.Equal(t, Info{}, info)
			return
		}
		require.Contains(t, string(b), "("+info.Command+")")
		rest := bytes.TrimSpace(b[bytes.LastIndexByte(b, ')')+1:])
		require.Equal(t, info.State, rest[0])
	})
}

func TestDead(t *testing.T) {
	t.Parallel()
	require.True(t, Info{State: 'Z', Threads: 1}.Dead())
	require.True(t, Info{State: 'X'}.Dead())
	require.False(t, Info{State: 'Z', Threads: 2}.Dead())
	require.False(t, Info{State: 'D', Threads: 1}.Dead())
}
