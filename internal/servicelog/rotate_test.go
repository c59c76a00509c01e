package servicelog

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// cutUp is where segments end on Linux, whatever the writes and moves were.
func cutUp(text string, max int) (all []string) {
	for len(text) > max {
		end := max
		if text[max-1] != '\n' {
			i := strings.IndexByte(text[max:min(2*max, len(text))], '\n')
			end = max + i + 1
			if i < 0 {
				end = min(2*max, len(text))
			}
		}
		all, text = append(all, text[:end]), text[end:]
	}
	if text != "" {
		all = append(all, text)
	}
	return all
}

// lineEnds is false where a segment ends with a line only if a move does.
func lineEnds(t *testing.T) bool {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	_, err = w.WriteString("a\nb")
	require.NoError(t, err)
	return lineLength(int(r.Fd()), 3) == 2
}

func TestSegmentsEndWithTheLineThatFillsThem(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 300_000)
	random.Read(noise)
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "%d %*d\n", i, i%150, i)
	}
	for name, text := range map[string]string{
		"lines":           lines.String(),
		"no newline":      strings.Repeat("0123456789abcdef", 20_000),
		"NULs":            strings.Repeat("a\x00\x00\n", 50_000),
		"invalid UTF-8":   strings.Repeat("\xff\xfe\xe2\x82\n", 50_000),
		"random bytes":    string(noise),
		"only newlines":   strings.Repeat("\n", 100_000),
		"ends at the max": strings.Repeat("0123456789abcde\n", 1000),
		"a long last one": lines.String() + strings.Repeat("x", 100_000),
		"a long first":    strings.Repeat("x", 100_000) + "\n" + lines.String(),
	} {
		t.Run(name, func(t *testing.T) {
			o := place(t)
			o.Max, o.Keep = 16_000, 1_000_000
			w := open(t, o)
			out := output(t, w)
			for left := text; left != ""; {
				n := min(1+rand.IntN(100_000), len(left))
				_, err := out.WriteString(left[:n])
				require.NoError(t, err)
				left = left[n:]
			}
			require.NoError(t, w.Drain(t.Context()))
			got := contents(t, o.Dir)
			require.Zero(t, w.Lost())
			require.Equal(t, Position{len(got), int64(len(got[len(got)-1]))}, w.Position())
			require.True(t, text == strings.Join(got, ""))
			if lineEnds(t) {
				require.Equal(t, cutUp(text, int(o.Max)), got)
			}
			require.True(t, text == joined(t, read(t, o.Dir)))
		})
	}
}

func TestOnlyTheNewestSegmentsAreKept(t *testing.T) {
	for keep := range 3 {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			o := place(t)
			o.Max, o.Keep = 100, keep
			w := open(t, o)
			out := output(t, w)
			line := strings.Repeat("x", 49) + "\n"
			for i := range 20 {
				say(t, w, out, line)
				w.removals.Wait()
				require.Equal(t, min(keep+1, i/2+1), len(contents(t, o.Dir)))
			}
			require.Equal(t, Position{10, 100}, w.Position(), "full, but not followed: nothing came after it")
			require.Len(t, texts(t, read(t, o.Dir)), 2*(keep+1))
		})
	}
}

func TestWithoutMaxThereIsOneSegment(t *testing.T) {
	o := place(t)
	w := open(t, o)
	say(t, w, output(t, w), strings.Repeat("0123456789abcde\n", 1<<16))
	require.Equal(t, Position{1, 1 << 20}, w.Position())
}

func TestLimitsChangeWhileItRuns(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	line := strings.Repeat("x", 99) + "\n"
	for range 5 {
		say(t, w, out, line)
	}
	require.Equal(t, []string{strings.Repeat(line, 5)}, contents(t, o.Dir))
	w.SetLimits(100, 5) // the segment is past it already
	say(t, w, out, line+line)
	require.Equal(t, []string{strings.Repeat(line, 5), line, line}, contents(t, o.Dir))
	w.SetLimits(300, 5)
	say(t, w, out, line+line+line)
	require.Equal(t, []string{strings.Repeat(line, 5), line, line + line + line, line}, contents(t, o.Dir))
	w.SetLimits(300, 1)
	require.Equal(t, []string{line + line + line, line}, contents(t, o.Dir), "at once")
	w.SetLimits(0, 0)
	say(t, w, out, strings.Repeat(line, 9))
	require.Equal(t, []string{line + line + line, strings.Repeat(line, 10)}, contents(t, o.Dir))
	w.SetLimits(100, -1)
	require.Equal(t, 1, len(contents(t, o.Dir)))
	require.NoError(t, w.Close())
	w.SetLimits(1, 1) // and nothing happens
}

// TestLineIsNotTornWhenMaxShrinks: what the segment holds beyond Max is no reason to cut
// the line that has begun.
func TestLineIsNotTornWhenMaxShrinks(t *testing.T) {
	if !lineEnds(t) {
		t.Skip("moves end where they end")
	}
	o := place(t)
	o.Max, o.Keep = 1000, 5
	w := open(t, o)
	out := output(t, w)
	say(t, w, out, strings.Repeat("x", 500))
	w.SetLimits(100, 5)
	say(t, w, out, "y\nz\n")
	require.Equal(t, []string{strings.Repeat("x", 500) + "y\n", "z\n"}, contents(t, o.Dir))
	// Nor when it grows after that.
	say(t, w, out, strings.Repeat("x", 110))
	w.SetLimits(1000, 5)
	say(t, w, out, strings.Repeat("x", 990)+"\nz\n")
	require.Equal(t, strings.Repeat("x", 1100)+"\n", contents(t, o.Dir)[1][2:])
}

// TestOpenTidiesWhatAKillLeft: the states on disk between the steps of a rotation.
func TestOpenTidiesWhatAKillLeft(t *testing.T) {
	full := strings.Repeat("0123456789abcde\n", 8)
	for name, c := range map[string]struct {
		logs, indexes []int
		want          []int
	}{
		"the index of the next":            {[]int{1, 2, 3}, []int{1, 2, 3, 4}, []int{1, 2, 3}},
		"the next, and nothing removed":    {[]int{1, 2, 3, 4}, []int{1, 2, 3, 4}, []int{2, 3, 4}},
		"an index whose segment is gone":   {[]int{2, 3, 4}, []int{1, 2, 3, 4}, []int{2, 3, 4}},
		"a segment without its index":      {[]int{2, 3, 4}, []int{2, 3}, []int{2, 3, 4}},
		"indexes, and no segment":          {nil, []int{1, 2, 3}, []int{1}},
		"more than Keep":                   {[]int{1, 2, 3, 4, 5, 6, 7}, []int{1, 2, 3, 4, 5, 6, 7}, []int{5, 6, 7}},
		"gaps":                             {[]int{1, 5, 9}, []int{1, 4, 5, 9, 10}, []int{1, 5, 9}},
		"more than Keep, with some undone": {[]int{4, 5, 6, 7}, []int{1, 2, 3, 4, 5, 6, 7, 8}, []int{5, 6, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			o := place(t)
			o.Max, o.Keep = 100, 2
			require.NoError(t, os.Mkdir(o.Dir, 0o700))
			put := func(name, text string) {
				require.NoError(t, os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600))
			}
			for i, n := range c.logs {
				if text := full; i < len(c.logs)-1 {
					put(segmentName(n), text)
				} else {
					put(segmentName(n), "")
				}
			}
			for _, n := range c.indexes {
				put(indexName(n), "")
			}
			foreign := []string{"notes.txt", "1.log", "00000001.log.gz", "x.idx", "00000099.idx"}
			for _, name := range foreign[:4] {
				put(name, "mine")
			}
			require.NoError(t, os.Symlink("/nowhere", filepath.Join(o.Dir, foreign[4])))

			w := open(t, o)
			d, err := openDir(nil, o.Dir)
			require.NoError(t, err)
			defer d.Close()
			logs, _, err := entries(d)
			require.NoError(t, err)
			require.Equal(t, c.want, logs)
			for _, name := range foreign {
				_, err := os.Lstat(filepath.Join(o.Dir, name))
				require.NoError(t, err, "it is not ours")
				require.NoError(t, os.Remove(filepath.Join(o.Dir, name)))
			}
			for i, n := range c.want[:len(c.want)-1] {
				require.Equal(t, full, string(content(t, o.Dir, n)), "%d", i)
			}
			say(t, w, output(t, w), "new\n")
			require.Equal(t, Position{c.want[len(c.want)-1], 4}, w.Position())
			lines := texts(t, read(t, o.Dir))
			require.Equal(t, 8*(len(c.want)-1)+1, len(lines))

			// And on in the next, whose index may be there already.
			say(t, w, output(t, w), full+full)
			require.NoError(t, w.Close())
			require.Equal(t, 3, len(contents(t, o.Dir)))
		})
	}
}

// tryNow makes it time for another try.
func tryNow(w *Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limits.retry = time.Time{}
}

// TestOldSegmentGoesOnWhereThereCanBeNoNew: nothing is lost, it is said once, and when there
// can be a new segment there is one, after a line.
func TestOldSegmentGoesOnWhereThereCanBeNoNew(t *testing.T) {
	for _, inTheWay := range []string{segmentName(2), indexName(2)} {
		t.Run(inTheWay, func(t *testing.T) {
			o := place(t)
			var said bytes.Buffer
			o.Logger = slog.New(slog.NewTextHandler(&said, nil))
			o.Max, o.Keep = 100, 100
			w := open(t, o)
			out := output(t, w)
			require.NoError(t, os.Mkdir(filepath.Join(o.Dir, inTheWay), 0o700))
			var wrote strings.Builder
			write := func() {
				line := fmt.Sprintf("%0*d\n", 60, wrote.Len())
				wrote.WriteString(line)
				say(t, w, out, line)
			}
			for i := range 100 {
				if i%10 == 0 {
					tryNow(w)
				}
				write()
			}
			require.Equal(t, Position{1, 6100}, w.Position())
			require.NoError(t, os.Remove(filepath.Join(o.Dir, inTheWay)))
			tryNow(w)
			write()
			require.Equal(t, Position{2, 61}, w.Position())
			for range 3 {
				write()
			}
			require.Greater(t, w.Position().Segment, 2)
			require.Zero(t, w.Lost())
			all := contents(t, o.Dir)
			require.Equal(t, wrote.String(), strings.Join(all, ""))
			for _, text := range all {
				require.True(t, strings.HasSuffix(text, "\n"))
			}
			require.NoError(t, w.Close())
			require.Equal(t, 1, strings.Count(said.String(), "log cannot be rotated"), said.String())
			require.Contains(t, said.String(), "a directory")
		})
	}
}

func TestWhatIsNotASegmentIsNotRemoved(t *testing.T) {
	o := place(t)
	var said bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	o.Max, o.Keep = 100, 0
	w := open(t, o)
	out := output(t, w)
	line := strings.Repeat("x", 99) + "\n"
	say(t, w, out, line)
	require.NoError(t, os.Remove(filepath.Join(o.Dir, segmentName(1))))
	require.NoError(t, os.Mkdir(filepath.Join(o.Dir, segmentName(1)), 0o700))
	for range 5 {
		say(t, w, out, line)
	}
	require.NoError(t, w.Close())
	require.DirExists(t, filepath.Join(o.Dir, segmentName(1)))
	require.Empty(t, said.String())
	require.Equal(t, line, string(content(t, o.Dir, 6)))
}

// TestFullSegmentWaitsForBytes: it is the poller that waits for them.
func TestFullSegmentWaitsForBytes(t *testing.T) {
	o := place(t)
	o.Max = 4
	w := open(t, o)
	say(t, w, output(t, w), "abc\n")
	w.mu.Lock()
	defer w.mu.Unlock()
	require.ErrorIs(t, w.step().fifoErr, unix.EAGAIN)
	require.Equal(t, 1, w.segment.number)
}

// TestIndexFillsASegment: what comes byte by byte has an index that is sixteen times as long.
func TestIndexFillsASegment(t *testing.T) {
	const full = indexRoom / recordSize
	for name, c := range map[string]struct {
		moves, number int
		last          string
	}{
		"not yet":               {full - 1, 1, "\n"},
		"the line goes on":      {full, 1, "x"},
		"the line has an end":   {full, 2, "\n"},
		"the line has no end":   {2 * full, 2, "x"},
		"nearly without an end": {2*full - 1, 1, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			o := place(t)
			o.Max, o.Keep = indexRoom, 5
			before := strings.Repeat("x", c.moves-1) + c.last
			var index []byte
			for i := range c.moves {
				index = append(index, record{int64(i + 1), time.Now().UnixNano()}.encode()...)
			}
			require.NoError(t, os.Mkdir(o.Dir, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(o.Dir, segmentName(1)), []byte(before), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(o.Dir, indexName(1)), index, 0o600))
			w := open(t, o)
			say(t, w, output(t, w), "next\n")
			require.Equal(t, c.number, w.Position().Segment)
			require.Equal(t, before+"next\n", strings.Join(contents(t, o.Dir), ""))
		})
	}
}

func TestClockSetBackBetweenSegmentsStandsStill(t *testing.T) {
	dir, err := openDir(nil, t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	s, err := openSegment(dir, 1)
	require.NoError(t, err)
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	require.NoError(t, s.index.append(1, noon))
	require.NoError(t, s.replace(2))
	defer s.close()
	require.NoError(t, s.index.append(1, noon.Add(-time.Second)))
	_, at := records(t, dir.Name(), 2)
	require.True(t, at[0].Equal(noon), at[0])
}
