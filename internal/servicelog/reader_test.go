package servicelog

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTail(t *testing.T) {
	huge := strings.Repeat("x", 3*copyChunk)
	for _, c := range []struct {
		name string
		log  []string
		n    int
		want []string
	}{
		{"empty", []string{""}, 3, []string{}},
		{"all of it", []string{"a\nb\n"}, 2, []string{"a", "b"}},
		{"more than there is", []string{"a\nb\n"}, 9, []string{"a", "b"}},
		{"the last", []string{"a\nb\nc\n"}, 1, []string{"c"}},
		{"none", []string{"a\nb\n"}, 0, []string{}},
		{"negative", []string{"a\nb\n"}, -1, []string{}},
		{"no newline at the end", []string{"a\nb\nc"}, 2, []string{"b", "c…"}},
		{"one line without newline", []string{"a"}, 1, []string{"a…"}},
		{"empty lines count", []string{"a\n\n\n"}, 2, []string{"", ""}},
		{"only a newline", []string{"\n"}, 1, []string{""}},
		{"over two segments", []string{"a\nb\n", "c\n"}, 2, []string{"b", "c"}},
		{"a line over two segments", []string{"a\nb", "c\nd\n"}, 2, []string{"bc", "d"}},
		{"a line over three segments", []string{"a\nb", "", "c", "d\n"}, 1, []string{"bcd"}},
		{"segment ends with the newline", []string{"a\n", "b\n", ""}, 1, []string{"b"}},
		{"newline is first in a segment", []string{"a\nb", "\nc"}, 2, []string{"b", "c…"}},
		{"empty last segment", []string{"a\nb\n", ""}, 0, []string{}},
		{"a line larger than a block", []string{"a\n" + huge + "\nb\n"}, 2,
			[]string{huge[:maxLine] + "…", huge[:maxLine] + "…", huge[:maxLine], "b"}},
		{"newline at a block's edge", []string{"a\nb\n" + huge[:copyChunk-1] + "\n"}, 2, []string{"b", huge[:copyChunk-1]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := read(t, logOf(t, c.log...))
			require.NoError(t, r.Tail(c.n))
			require.Equal(t, c.want, texts(t, r))
		})
	}
}

func TestLongLineComesInParts(t *testing.T) {
	x := strings.Repeat("x", maxLine)
	euro := x[:maxLine-1] + "€uro"
	for name, c := range map[string]struct{ log, want []string }{
		"exactly the cap":              {[]string{x + "\ny\n"}, []string{x, "y"}},
		"the cap, newline not yet":     {[]string{x}, []string{x + "…"}},
		"one more":                     {[]string{x + "y\n"}, []string{x + "…", "y"}},
		"twice the cap":                {[]string{x + x + "\n"}, []string{x + "…", x}},
		"not inside a character":       {[]string{euro + "\n"}, []string{x[:maxLine-1] + "…", "€uro"}},
		"over a segment's end":         {[]string{x, x + "\n"}, []string{x + "…", x}},
		"character over a segment":     {[]string{euro[:maxLine+1], euro[maxLine+1:] + "\n"}, []string{x[:maxLine-1] + "…", "€uro"}},
		"nothing but continuing bytes": {[]string{strings.Repeat("\x80", maxLine+1)}, []string{strings.Repeat("\x80", maxLine) + "…", "\x80…"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, texts(t, read(t, logOf(t, c.log...))))
		})
	}
}

func TestUnfinishedLineComesOnce(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	say(t, w, out, "a\npro")
	require.Equal(t, []string{"a", "pro…"}, texts(t, r))
	require.Equal(t, Position{1, 5}, r.Position())
	require.Empty(t, texts(t, r))
	say(t, w, out, "mpt")
	_, err := r.Next()
	require.Equal(t, io.EOF, err, "Next must not return what is not complete")
	say(t, w, out, "\nb\n")
	require.Equal(t, []string{"mpt", "b"}, texts(t, r))
	say(t, w, out, "c")
	require.Equal(t, []string{"c…"}, texts(t, r))
	say(t, w, out, "\n")
	require.Equal(t, []string{""}, texts(t, r), "the end of what came before")
}

func TestPositionComesBackAfterSeek(t *testing.T) {
	dir := logOf(t, "a\nbb\nc", "c\nd\n", "e")
	r := read(t, dir)
	require.Equal(t, Position{}, r.Position())
	var at []Position
	for {
		line, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		at = append(at, r.Position())
		_ = line
	}
	require.Equal(t, []Position{{1, 2}, {1, 5}, {2, 2}, {2, 4}}, at)
	want := []string{"a", "bb", "cc", "d", "e…"}
	for i, p := range at {
		other := read(t, dir)
		other.Seek(p)
		require.Equal(t, p, other.Position())
		require.Equal(t, want[i+1:], texts(t, other))
	}
}

func TestSeekWithoutItsSegment(t *testing.T) {
	dir := logOf(t, "a\n", "b\n", "c\n")
	require.NoError(t, os.Remove(filepath.Join(dir, segmentName(2))))
	for p, want := range map[Position][]string{
		{2, 1}:  {"c"},      // the next that is there
		{9, 1}:  {"a", "c"}, // made anew since
		{3, 99}: {"c"},      // cut since
		{}:      {"a", "c"}, // the beginning
		{1, 2}:  {"c"},      // over the gap
		{-1, 5}: {"a", "c"}, // never was
		{3, 2}:  {},         // the end
		{1, 1}:  {"", "c"},  // inside a line
	} {
		r := read(t, dir)
		r.Seek(p)
		require.Equal(t, want, texts(t, r), "%+v", p)
	}
}

func TestTimesNeverGoBack(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	begin := time.Now()
	var last time.Time
	for i := range 300 {
		if i%100 == 99 { // a new writer
			require.NoError(t, w.Close())
			w = open(t, o)
		}
		_, err := out.WriteString("line\n") // no Drain: also lines that have no record yet
		require.NoError(t, err)
		line, err := r.Follow(t.Context())
		require.NoError(t, err)
		require.False(t, line.Time.Before(last), "line %d: %v after %v", i, line.Time, last)
		last = line.Time
	}
	require.WithinRange(t, last, begin.Add(-time.Second), time.Now().Add(time.Second))
}

// stamped makes a segment and an index of lines that arrived a minute apart.
func stamped(t *testing.T, dir string, segment int, begin time.Time, lines ...string) {
	d, err := openDir(nil, dir)
	require.NoError(t, err)
	defer d.Close()
	x, err := openIndex(d, indexName(segment), 0, time.Time{})
	require.NoError(t, err)
	defer x.file.Close()
	end := int64(0)
	for i, line := range lines {
		end += int64(len(line))
		require.NoError(t, x.append(end, begin.Add(time.Duration(i)*time.Minute)))
	}
	path := filepath.Join(dir, segmentName(segment))
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	last := begin.Add(time.Duration(len(lines)-1) * time.Minute)
	require.NoError(t, os.Chtimes(path, last, last))
}

func TestSince(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	stamped(t, dir, 1, begin, "a\n", "b\n", "c")
	stamped(t, dir, 2, begin.Add(3*time.Minute), "c\n", "d\n", "e", "e\nf\n")
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{-time.Hour, []string{"a", "b", "cc", "d", "ee", "f"}},
		{0, []string{"a", "b", "cc", "d", "ee", "f"}},
		{time.Second, []string{"b", "cc", "d", "ee", "f"}},
		{time.Minute, []string{"b", "cc", "d", "ee", "f"}},
		{2 * time.Minute, []string{"cc", "d", "ee", "f"}},
		{3 * time.Minute, []string{"d", "ee", "f"}}, // cc began before
		{5 * time.Minute, []string{"ee", "f"}},
		{6 * time.Minute, []string{"f"}},
		{7 * time.Minute, []string{}},
		{time.Hour, []string{}},
	} {
		r := read(t, dir)
		require.NoError(t, r.Since(begin.Add(c.after)))
		require.Equal(t, c.want, texts(t, r), "%v", c.after)
	}
	for _, far := range []time.Time{{}, time.Unix(-1, 0)} {
		r := read(t, dir)
		require.NoError(t, r.Since(far))
		require.Len(t, texts(t, r), 6)
	}
	r := read(t, dir)
	require.NoError(t, r.Since(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.Empty(t, texts(t, r))
}

func TestSinceTheEndDropsTheRestOfALine(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	say(t, w, out, "begun before")
	r := read(t, o.Dir)
	require.NoError(t, r.Since(time.Now().Add(time.Hour)))
	say(t, w, out, " and ended after")
	require.Empty(t, texts(t, r))
	say(t, w, out, "\nnew\n")
	require.Equal(t, []string{"new"}, texts(t, r))
}

func TestLinesWithoutIndexHaveTheTimeOfTheSegment(t *testing.T) {
	dir := logOf(t, "a\nb\n")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, os.Chtimes(filepath.Join(dir, segmentName(1)), at, at))
	line, err := read(t, dir).Next()
	require.NoError(t, err)
	require.True(t, line.Time.Equal(at), line.Time)
	for since, want := range map[time.Time][]string{at: {"a", "b"}, at.Add(1): {}} {
		r := read(t, dir)
		require.NoError(t, r.Since(since))
		require.Equal(t, want, texts(t, r))
	}
}

func TestNoLogIsErrNotExist(t *testing.T) {
	_, err := NewReader(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = NewReader(t.TempDir())
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestReaderRefusesWhatIsNotALog(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, segmentName(1)), 0o600))
	_, err := read(t, dir).Next() // and does not hang
	require.ErrorContains(t, err, "a FIFO, not a regular file")
	dir = logOf(t, "a\n")
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(dir, indexName(1))))
	require.Equal(t, []string{"a"}, texts(t, read(t, dir)))
}

func TestFollowShowsAnUnfinishedLineAfterSilence(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	for _, step := range []struct{ write, want string }{
		{"whole\n", "whole"}, {"login: ", "login: …"}, {"root\n", "root"}, {"\n", ""},
	} {
		say(t, w, out, step.write)
		line, err := r.Follow(t.Context())
		require.NoError(t, err)
		require.Equal(t, step.want, shown(line))
	}
}

func TestFollowCrossesRestartsAndSegments(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	follow := func(want string) {
		t.Helper()
		line, err := r.Follow(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, shown(line))
	}
	say(t, w, out, "one\n")
	follow("one")
	require.NoError(t, w.Close())
	_, err := out.WriteString("while down\n")
	require.NoError(t, err)
	w = open(t, o)
	follow("while down")

	say(t, w, out, "half a ")
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(filepath.Join(o.Dir, segmentName(2)), nil, 0o600))
	w = open(t, o)
	require.Equal(t, 2, w.Position().Segment)
	say(t, w, out, "line\n")
	follow("half a line")
	go func() { _, _ = out.WriteString("later\n") }()
	follow("later")
}

func TestFollowEndsWithItsContext(t *testing.T) {
	r := read(t, logOf(t, ""))
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	_, err := r.Follow(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, r.Wait(ctx), context.Canceled)
}

func TestFollowEndsWhenTheLogIsRemoved(t *testing.T) {
	dir := logOf(t, "a\n")
	r := read(t, dir)
	_, err := r.Follow(t.Context())
	require.NoError(t, err)
	go os.RemoveAll(dir)
	_, err = r.Follow(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestSlowFollowerNeverBlocksWriter(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	say(t, w, out, "first\n")
	_, err := r.Follow(t.Context())
	require.NoError(t, err) // and it reads no more
	block := strings.Repeat("0123456789abcde\n", 1<<16)
	for range 16 {
		_, err := out.WriteString(block)
		require.NoError(t, err)
	}
	require.NoError(t, w.Drain(t.Context()))
	require.EqualValues(t, len("first\n")+16<<20, w.Position().Offset)
	require.Zero(t, w.Lost())
	require.Len(t, texts(t, r), 1<<20)
}

func TestCrossingMissesNothing(t *testing.T) {
	dir := logOf(t, "a\n")
	r := read(t, dir)
	require.Equal(t, []string{"a"}, texts(t, r))
	// Between our reading to the end and our look for a next segment:
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(1)), []byte("a\nb\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(2)), []byte("c\n"), 0o600))
	require.NoError(t, r.cross())
	require.Equal(t, []string{"b", "c"}, texts(t, r))
}
