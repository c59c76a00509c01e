package servicelog

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestKilledWriterLosesNothing(t *testing.T) {
	lines := 200_000
	if testing.Short() {
		lines = 20_000
	}
	o := place(t)
	first := open(t, o) // makes the FIFO
	held := output(t, first)
	require.NoError(t, first.Close())

	service := helper(t, "number", lines)
	service.Stdout = held // and the test keeps it open, as the sentry does
	require.NoError(t, service.Start())
	ended := make(chan error, 1)
	go func() { ended <- service.Wait() }()

	kills := 0
	for done := false; !done; kills++ {
		done = killOne(t, o, ended)
	}
	require.Greater(t, kills, lines/20_000)

	w := open(t, o)
	require.NoError(t, w.Drain(t.Context()))
	r := read(t, o.Dir)
	var last time.Time
	for i := range lines {
		line, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, numbered(i), string(line.Text))
		require.False(t, line.Time.Before(last), "line %d", i)
		last = line.Time
	}
	_, err := r.Next()
	require.Equal(t, io.EOF, err)
	ends, _ := records(t, o.Dir, 1)
	require.Equal(t, w.Position().Offset, ends[len(ends)-1])
	t.Logf("%d lines, %d bytes, writer killed %d times, %d records", lines, w.Position().Offset, kills, len(ends))
}

// killOne starts a writer and kills it while it moves bytes; true when the service has
// written everything.
func killOne(t *testing.T, o Options, ended chan error) bool {
	writer := helper(t, "write", o.Dir, o.FIFO)
	stdout, err := writer.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, writer.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)

	done := false
	enough := size(t, o) + rand.Int64N(256<<10)
	eventually(t, "the log grows", func() bool {
		select {
		case err := <-ended:
			require.NoError(t, err)
			done = true
		default:
		}
		return done || size(t, o) > enough
	})
	require.NoError(t, writer.Process.Kill())
	_ = writer.Wait()
	return done
}

func size(t *testing.T, o Options) int64 {
	info, err := os.Stat(filepath.Join(o.Dir, segmentName(1)))
	require.NoError(t, err)
	return info.Size()
}

// eventually polls; what it waits for has no event of its own.
func eventually(t testing.TB, what string, ok func() bool) {
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("never came true: " + what)
		}
		time.Sleep(100 * time.Microsecond)
	}
}
