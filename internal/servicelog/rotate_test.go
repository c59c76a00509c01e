package servicelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// TestFollowerReadsEveryLineAcrossRotation: none twice, none torn, times in order.
func TestFollowerReadsEveryLineAcrossRotation(t *testing.T) {
	const lines = 20_000
	o := place(t)
	o.Max, o.Keep = 4<<10, 1_000_000
	w := open(t, o)
	service := helper(t, "number", lines)
	service.Stdout = output(t, w)
	r := read(t, o.Dir)
	require.NoError(t, service.Start())
	var last time.Time
	for i := range lines {
		line, err := r.Follow(t.Context())
		require.NoError(t, err)
		require.Equal(t, numbered(i), string(line.Text))
		require.False(t, line.Time.Before(last))
		last = line.Time
	}
	require.NoError(t, service.Wait())
	require.Zero(t, r.Skipped())
	require.Greater(t, w.Position().Segment, 100)
}

// number reads back what numbered wrote.
func number(text []byte) (n int, err error) {
	if _, err = fmt.Sscanf(string(text), "line %d", &n); err == nil && numbered(n) != string(text) {
		err = errors.New("torn")
	}
	return n, err
}

// TestReadersOutrunByRotationGoOn: segments are removed while they are looked for, between
// the look and the opening, and while they are read. Every line is whole, lines rise, and
// where one is missing Skipped says so.
func TestReadersOutrunByRotationGoOn(t *testing.T) {
	if !lineEnds(t) {
		t.Skip("segments begin inside lines")
	}
	lines := 20_000
	if testing.Short() {
		lines = 5_000
	}
	o := place(t)
	o.Max, o.Keep = 1<<10, 1
	w := open(t, o)
	out := output(t, w)
	say(t, w, out, numbered(0)+"\n")
	begin := time.Now()
	var readers sync.WaitGroup
	done := make(chan struct{})
	ways := map[string]func(*Reader) error{
		"all":   func(*Reader) error { return nil },
		"tail":  func(r *Reader) error { return r.Tail(5) },
		"since": func(r *Reader) error { return r.Since(begin) },
		"now":   func(r *Reader) error { return r.Since(time.Now().Add(-time.Millisecond)) },
		"seek":  func(r *Reader) error { r.Seek(Position{Segment: 1, Offset: 2}); return nil },
	}
	for name, way := range ways {
		readers.Go(func() {
			for rounds := 0; ; rounds++ {
				select {
				case <-done:
					t.Logf("%s: %d rounds", name, rounds)
					return
				default:
				}
				n, err := rising(o.Dir, way)
				if err != nil || n == 0 && name == "all" {
					t.Errorf("%s: %d lines: %v", name, n, err)
					return
				}
			}
		})
	}
	service := helper(t, "number", lines)
	service.Stdout = out
	require.NoError(t, service.Run())
	require.NoError(t, w.Drain(t.Context()))
	close(done)
	readers.Wait()
	require.Greater(t, w.Position().Segment, lines/50)
	last := texts(t, read(t, o.Dir))
	require.Equal(t, numbered(lines-1), last[len(last)-1])
}

// rising reads some lines of a log of numbers, from where way goes, and returns how many.
func rising(dir string, way func(*Reader) error) (lines int, err error) {
	r, err := NewReader(dir)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if err := way(r); err != nil {
		return 0, err
	}
	last, skipped := -1, r.Skipped()
	for ; lines < 100; lines++ {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		n, err := number(line.Text)
		switch {
		case err != nil && r.Skipped() == 0 && last < 0: // Seek was to the middle of a line
		case err != nil:
			return lines, fmt.Errorf("line %q after %d, skipped %d: %w", line.Text, last, r.Skipped(), err)
		case last >= 0 && n != last+1 && n != 0 && r.Skipped() == skipped:
			return lines, fmt.Errorf("line %d after %d, skipped %d", n, last, skipped)
		}
		last, skipped = n, r.Skipped()
	}
	return lines, nil
}

// TestRotationDoesNotWaitForAFollower: one that does not read has the segment open that is
// removed, and reads it to its end when it comes back.
func TestRotationDoesNotWaitForAFollower(t *testing.T) {
	o := place(t)
	o.Max, o.Keep = 1<<20, 1
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	line := strings.Repeat("x", 1023) + "\n"
	say(t, w, out, "first\n")
	_, err := r.Follow(t.Context())
	require.NoError(t, err) // and it reads no more
	for range 16 {
		_, err := out.WriteString(strings.Repeat(line, 1024))
		require.NoError(t, err)
	}
	require.NoError(t, w.Drain(t.Context()))
	require.Zero(t, w.Lost())
	w.removals.Wait()
	require.Equal(t, 2, len(contents(t, o.Dir)))
	require.Equal(t, 16, w.Position().Segment)
	// Of segment 1, all; then 15 and 16.
	require.Equal(t, 3*1024, len(texts(t, r)))
	require.Equal(t, 13, r.Skipped())
}

func TestSkippedCountsWhatWasRemovedUnread(t *testing.T) {
	dir := logOf(t, "a\n", "b\n", "c\n", "d\n", "e\n")
	r := read(t, dir)
	_, err := r.Next()
	require.NoError(t, err)
	for n := 1; n <= 3; n++ {
		require.NoError(t, os.Remove(filepath.Join(dir, segmentName(n))))
	}
	require.Zero(t, r.Skipped())
	require.Equal(t, []string{"d", "e"}, texts(t, r))
	require.Equal(t, 2, r.Skipped())
	r.Seek(Position{2, 0})
	require.Zero(t, r.Skipped())
	require.Equal(t, []string{"d", "e"}, texts(t, r))
	require.Equal(t, 2, r.Skipped())
	r.Seek(Position{})
	require.Equal(t, []string{"d", "e"}, texts(t, r))
	require.Zero(t, r.Skipped(), "the beginning is what is left")
}

// TestLineWithoutItsEndIsNotGluedToAnother: the segment with its end was removed.
func TestLineWithoutItsEndIsNotGluedToAnother(t *testing.T) {
	long := strings.Repeat("y", maxLine)
	for text, want := range map[string][]string{
		"x":        {"x", "c"},
		"a\nx":     {"a", "x", "c"},
		"a\n":      {"a", "c"},
		long + "x": {long + "…", "x", "c"},
		"":         {"c"},
	} {
		dir := logOf(t, text, "b\n", "c\n")
		r := read(t, dir)
		require.NoError(t, r.open())
		require.NoError(t, os.Remove(filepath.Join(dir, segmentName(2))))
		require.Equal(t, want, texts(t, r))
	}
	dir := logOf(t, "prompt> ")
	r := read(t, dir)
	require.Equal(t, []string{"prompt> …"}, texts(t, r))
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(3)), []byte("c\n"), 0o600))
	require.Equal(t, []string{"", "c"}, texts(t, r), "what was shown is ended first")
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

// TestListOfRemovedSegmentsIsMadeAnew: everything that was listed was removed before it was opened.
func TestListOfRemovedSegmentsIsMadeAnew(t *testing.T) {
	dir := logOf(t, "a\n", "b\n", "c\n", "d\n")
	for n := 1; n <= 3; n++ {
		require.NoError(t, os.Remove(filepath.Join(dir, segmentName(n))))
	}
	d, err := openDir(nil, dir)
	require.NoError(t, err)
	defer d.Close()
	_, err = tail(d, []int{1, 2}, 1)
	require.ErrorIs(t, err, errRemoved)
	_, _, err = since(d, []int{1, 2}, time.Time{})
	require.ErrorIs(t, err, errRemoved)
	at, err := tail(d, []int{3, 4}, 5)
	require.NoError(t, err)
	require.Equal(t, Position{}, at, "all that is left")
	at, whole, err := since(d, []int{3, 4}, time.Time{})
	require.NoError(t, err)
	require.True(t, whole)
	require.Equal(t, Position{4, 0}, at)
}

// TestTimesDoNotGoBackBetweenSegments: the first bytes of a segment are read before they are
// in its index, and the time of its file is of a slower clock.
func TestTimesDoNotGoBackBetweenSegments(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	dir := t.TempDir()
	stamped(t, dir, 1, at, "a\n")
	for n := 2; n <= 3; n++ {
		path := filepath.Join(dir, segmentName(n))
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("b\n"), n-2), 0o600))
		require.NoError(t, os.Chtimes(path, at.Add(-time.Millisecond), at.Add(-time.Millisecond)))
	}
	r := read(t, dir)
	for range 2 {
		line, err := r.Next()
		require.NoError(t, err)
		require.True(t, line.Time.Equal(at), line.Time)
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

// TestListIsCompleted: a list that was made while the directory changed lacks what is there.
func TestListIsCompleted(t *testing.T) {
	dir := logOf(t, "a\n", "b\n", "c\n", "d\n", "e\n", "f\n")
	require.NoError(t, os.Remove(filepath.Join(dir, segmentName(2))))
	d, err := openDir(nil, dir)
	require.NoError(t, err)
	defer d.Close()
	for _, c := range []struct{ listed, want []int }{
		{[]int{1, 3, 4, 5, 6}, []int{1, 3, 4, 5, 6}},
		{[]int{1, 3, 4, 6}, []int{1, 3, 4, 5, 6}},
		{[]int{6}, []int{3, 4, 5, 6}},
		{[]int{1, 2, 5}, []int{1, 2, 3, 4, 5}},
		{nil, nil},
	} {
		require.Equal(t, c.want, withMissed(d, c.listed))
	}
}
