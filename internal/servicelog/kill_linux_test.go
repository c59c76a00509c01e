package servicelog

import (
	"bufio"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestKilledWriterLosesNothing(t *testing.T) {
	lines := 200_000
	if testing.Short() {
		lines = 20_000
	}
	kills := 0
	for kills <= lines/20_000 {
		kills += killAgainAndAgain(t, place(t), lines, 256<<10)
	}
	t.Logf("writer killed %d times", kills)
}

// With a segment every 40 or 300 lines, nearly every kill is near a rotation, and many are
// in one.
func TestKilledRotationLosesNothing(t *testing.T) {
	enough := 60
	if testing.Short() {
		enough = 20
	}
	kills := 0
	for round := 0; kills < enough; round++ {
		o := place(t)
		o.Max, o.Keep = []int64{2 << 10, 16 << 10}[round%2], 1_000_000
		kills += killAgainAndAgain(t, o, 20_000, 40<<10)
		all := contents(t, o.Dir)
		for i, text := range all {
			require.True(t, strings.HasSuffix(text, "\n"))
			if i < len(all)-1 {
				require.GreaterOrEqual(t, len(text), int(o.Max))
			}
			require.Less(t, len(text), int(o.Max)+len(numbered(79))) // the longest
		}
	}
	t.Logf("writer killed %d times", kills)
}

// TestKilledRotationKeepsTheNewest: what is removed too late because of a kill is removed
// by the next writer, and nothing is removed too early.
func TestKilledRotationKeepsTheNewest(t *testing.T) {
	o := place(t)
	o.Max, o.Keep = 4<<10, 2
	lines := 20_000
	killWriters(t, o, lines, 40<<10)
	w := open(t, o)
	require.NoError(t, w.Drain(t.Context()))
	w.removals.Wait()
	all := contents(t, o.Dir)
	require.Len(t, all, 3)
	got := texts(t, read(t, o.Dir))
	for i, text := range got {
		require.Equal(t, numbered(lines-len(got)+i), text)
	}
}

// killWriters kills writers until a service has written its lines, each after step bytes or
// a little more. It returns how many there were.
func killWriters(t *testing.T, o Options, lines int, step int64) (kills int) {
	first := open(t, o) // makes the FIFO
	held := output(t, first)
	require.NoError(t, first.Close())

	service := helper(t, "number", lines)
	service.Stdout = held // and the test keeps it open, as the sentry does
	require.NoError(t, service.Start())
	ended := make(chan error, 1)
	go func() { ended <- service.Wait() }()

	for done := false; !done; kills++ {
		done = killOne(t, o, ended, rand.Int64N(step))
	}
	return kills
}

// killAgainAndAgain is killWriters, and reads all lines.
func killAgainAndAgain(t *testing.T, o Options, lines int, step int64) int {
	kills := killWriters(t, o, lines, step)
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
	require.Zero(t, r.Skipped())
	end := w.Position()
	ends, _ := records(t, o.Dir, end.Segment)
	require.Equal(t, end.Offset, ends[len(ends)-1])
	return kills
}

// killOne starts a writer and kills it when it has moved more than some bytes; true when
// the service has written everything.
func killOne(t *testing.T, o Options, ended chan error, some int64) bool {
	writer := helper(t, "write", o.Dir, o.FIFO, o.Max, o.Keep)
	stdout, err := writer.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, writer.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)

	done := false
	enough := size(t, o) + some
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

// size is how much the log holds; with a Max, about.
func size(t *testing.T, o Options) int64 {
	r, err := NewReader(o.Dir)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.Tail(0))
	end := r.Position()
	return int64(end.Segment)*o.Max + end.Offset
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
