package servicelog

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// records reads the index as the format says.
func records(t testing.TB, dir string, segment int) (ends []int64, at []time.Time) {
	b, err := os.ReadFile(filepath.Join(dir, indexName(segment)))
	require.NoError(t, err)
	require.Zero(t, len(b)%16)
	for ; len(b) > 0; b = b[16:] {
		ends = append(ends, int64(binary.LittleEndian.Uint64(b)))
		at = append(at, time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:]))))
	}
	return ends, at
}

func TestOpenMendsTheIndex(t *testing.T) {
	old := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rec := func(end int64, t time.Time) string { return string(record{end, t.UnixNano()}.encode()) }
	good := rec(2, old) + rec(4, old.Add(time.Second))
	for name, c := range map[string]struct {
		index string
		want  []int64
	}{
		"good":                {good + rec(6, old.Add(2*time.Second)), []int64{2, 4, 6}},
		"torn":                {good + rec(6, old)[:9], []int64{2, 4, 6}},
		"killed before it":    {good, []int64{2, 4, 6}},
		"past the end":        {good + rec(99, old), []int64{2, 4, 6}},
		"empty":               {"", []int64{6}},
		"less than a record":  {"x", []int64{6}},
		"garbage":             {strings.Repeat("garbage!", 9), []int64{6}},
		"negative":            {good + rec(-7, old), []int64{2, 4, 6}},
		"zeros, then garbage": {good + strings.Repeat("\x00", 32) + rec(1<<62, old), []int64{2, 4, 0, 0, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			o := place(t)
			require.NoError(t, os.Mkdir(o.Dir, 0o700))
			segment, index := filepath.Join(o.Dir, segmentName(1)), filepath.Join(o.Dir, indexName(1))
			require.NoError(t, os.WriteFile(segment, []byte("a\nb\nc\n"), 0o600))
			mtime := old.Add(10 * time.Second)
			require.NoError(t, os.Chtimes(segment, mtime, mtime))
			require.NoError(t, os.WriteFile(index, []byte(c.index), 0o600))
			w := open(t, o)
			ends, at := records(t, o.Dir, 1)
			require.Equal(t, c.want, ends)
			if name != "good" {
				require.True(t, at[len(at)-1].Equal(mtime), "what has no record arrived when the segment was written last")
			}
			say(t, w, output(t, w), "d\n")
			ends, _ = records(t, o.Dir, 1)
			require.Equal(t, append(c.want, 8), ends)
			require.Equal(t, []string{"a", "b", "c", "d"}, texts(t, read(t, o.Dir)))
		})
	}
}

func TestMissingIndexIsMadeAnew(t *testing.T) {
	o := place(t)
	w := open(t, o)
	say(t, w, output(t, w), "a\nb\n")
	require.NoError(t, w.Close())
	require.NoError(t, os.Remove(filepath.Join(o.Dir, indexName(1))))
	open(t, o)
	ends, _ := records(t, o.Dir, 1)
	require.Equal(t, []int64{4}, ends)
}

func TestClockSetBackALittleStandsStill(t *testing.T) {
	d, err := openDir(nil, t.TempDir())
	require.NoError(t, err)
	defer d.Close()
	x, err := openIndex(d, indexName(1), 0, time.Time{})
	require.NoError(t, err)
	defer x.file.Close()
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for i, at := range []time.Time{noon, noon.Add(-time.Second), noon.Add(time.Second), noon.Add(-time.Hour)} {
		require.NoError(t, x.append(int64(i+1), at))
	}
	_, at := records(t, d.Name(), 1)
	for i, want := range []time.Time{noon, noon, noon.Add(time.Second), noon.Add(-time.Hour)} {
		require.True(t, want.Equal(at[i]), "%d: %v", i, at[i])
	}
}

// FuzzIndex: whatever the index holds, every line is read, in order, from the beginning,
// from Tail and from Since; the writer opens such a log and keeps its bytes.
func FuzzIndex(f *testing.F) {
	r := record{4, 1}.encode()
	f.Add([]byte("a\nbb\nccc"), []byte(nil), uint8(2), int64(1))
	f.Add([]byte("a\nbb\n\n"), append(r, r...), uint8(1), int64(2))
	f.Add([]byte("a\nb"), record{-1, -1}.encode(), uint8(0), int64(-1))
	f.Add([]byte{}, r[:7], uint8(9), int64(1<<62))
	f.Fuzz(func(t *testing.T, text, index []byte, n uint8, since int64) {
		dir := logOf(t, string(text))
		require.NoError(t, os.WriteFile(filepath.Join(dir, indexName(1)), index, 0o600))
		d, err := openDir(nil, dir)
		require.NoError(t, err)
		defer d.Close()
		check := func() {
			all := joined(t, read(t, dir))
			require.Equal(t, string(text), all)

			r := read(t, dir)
			require.NoError(t, r.Tail(int(n)))
			tail := joined(t, r)
			require.True(t, strings.HasSuffix(all, tail))
			lines := strings.SplitAfter(all, "\n")
			if lines[len(lines)-1] == "" {
				lines = lines[:len(lines)-1]
			}
			require.Equal(t, strings.Join(lines[max(0, len(lines)-int(n)):], ""), tail)

			r = read(t, dir)
			require.NoError(t, r.Since(time.Unix(0, since)))
			rest := joined(t, r)
			require.True(t, strings.HasSuffix(all, rest))
			before := strings.TrimSuffix(all, rest)
			require.True(t, before == "" || rest == "" || strings.HasSuffix(before, "\n"), "Since began inside a line")
		}
		check()
		s, err := openLast(d)
		require.NoError(t, err)
		s.close()
		require.EqualValues(t, len(text), s.offset)
		require.Equal(t, s.offset, s.index.last.end)
		check()
	})
}

// joined reads to the end and puts the newlines back.
func joined(t *testing.T, r *Reader) string {
	defer r.Close()
	var all strings.Builder
	for {
		line, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		all.Write(line.Text)
		if !line.Partial {
			all.WriteByte('\n')
		}
	}
	if line, ok := r.Rest(); ok {
		all.Write(line.Text)
	}
	return all.String()
}
