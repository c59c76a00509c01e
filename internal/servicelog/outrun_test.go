package servicelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
		text := ""
		for more := true; more; { // a line that is written in two, far apart, may come in two
			line, err := r.Follow(t.Context())
			require.NoError(t, err)
			require.False(t, line.Time.Before(last))
			last, more = line.Time, line.Partial
			text += string(line.Text)
		}
		require.Equal(t, numbered(i), text)
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

// TestListOfRemovedSegmentsIsMadeAnew: everything that was listed was removed before it was opened.
func TestListOfRemovedSegmentsIsMadeAnew(t *testing.T) {
	dir := logOf(t, "a\n", "b\n", "c\n", "d\n")
	for n := 1; n <= 3; n++ {
		require.NoError(t, os.Remove(filepath.Join(dir, segmentName(n))))
	}
	d, err := openDir(nil, dir)
	require.NoError(t, err)
	defer d.Close()
	_, err = tail(d, []int{1, 2}, 1, Position{})
	require.ErrorIs(t, err, errRemoved)
	_, _, err = since(d, []int{1, 2}, time.Time{})
	require.ErrorIs(t, err, errRemoved)
	at, err := tail(d, []int{3, 4}, 5, Position{})
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
