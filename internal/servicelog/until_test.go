package servicelog

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBefore(t *testing.T) {
	rising := []Position{{}, {0, 1}, {1, 0}, {1, 9}, {2, 0}, {2, 1}}
	for i, p := range rising {
		for k, q := range rising {
			require.Equal(t, i < k, p.Before(q), "%v %v", p, q)
		}
	}
}

// followed follows to the end.
func followed(t *testing.T, r *Reader) []string {
	all := []string{}
	for {
		line, err := r.Follow(t.Context())
		if errors.Is(err, io.EOF) {
			_, ok := r.Rest()
			require.False(t, ok, "Follow left something")
			return all
		}
		require.NoError(t, err)
		all = append(all, shown(line))
	}
}

func TestUntilIsTheEnd(t *testing.T) {
	dir := logOf(t, "a\nbb\nc", "c\nd\n", "e\nf")
	for _, c := range []struct {
		from, end Position
		want      []string
	}{
		{Position{}, Position{1, 2}, []string{"a"}},
		{Position{}, Position{1, 5}, []string{"a", "bb"}},
		{Position{}, Position{1, 4}, []string{"a", "bb…"}},
		{Position{}, Position{1, 3}, []string{"a", "b…"}},
		{Position{}, Position{1, 6}, []string{"a", "bb", "c…"}},
		{Position{}, Position{2, 0}, []string{"a", "bb", "c…"}},
		{Position{}, Position{2, 1}, []string{"a", "bb", "cc…"}},
		{Position{}, Position{2, 2}, []string{"a", "bb", "cc"}},
		{Position{1, 5}, Position{2, 4}, []string{"cc", "d"}},
		{Position{1, 5}, Position{3, 0}, []string{"cc", "d"}},
		{Position{2, 4}, Position{3, 0}, []string{}},
		{Position{2, 4}, Position{3, 3}, []string{"e", "f…"}},
		{Position{1, 2}, Position{1, 2}, []string{}},
		{Position{2, 0}, Position{1, 2}, []string{}},
		{Position{}, Position{0, 1}, []string{}},
	} {
		for name, read1 := range map[string]func(*testing.T, *Reader) []string{
			"next":   func(t *testing.T, r *Reader) []string { return texts(t, r) },
			"follow": followed,
		} {
			r := read(t, dir)
			r.Seek(c.from)
			r.Until(c.end)
			require.Equal(t, c.want, read1(t, r), "%s %+v", name, c)
			require.Equal(t, c.want == nil, false)
			_, err := r.Next()
			require.Equal(t, io.EOF, err)
			require.Equal(t, io.EOF, r.Wait(t.Context()))
		}
	}
}

func TestTailCountsBackFromUntil(t *testing.T) {
	dir := logOf(t, "a\nbb\nc", "c\nd\n", "e\nf")
	for _, c := range []struct {
		n    int
		end  Position
		want []string
	}{
		{0, Position{2, 2}, []string{}},
		{1, Position{2, 2}, []string{"cc"}},
		{2, Position{2, 2}, []string{"bb", "cc"}},
		{1, Position{2, 1}, []string{"cc…"}},
		{1, Position{2, 0}, []string{"c…"}},
		{1, Position{1, 6}, []string{"c…"}},
		{5, Position{1, 2}, []string{"a"}},
		{1, Position{2, 9}, []string{"d"}},
		{5, Position{0, 1}, []string{}},
		{2, Position{}, []string{"e", "f…"}},
	} {
		r := read(t, dir)
		r.Until(c.end)
		require.NoError(t, r.Tail(c.n))
		require.Equal(t, c.want, followedUntil(t, r, c.end), "%+v", c)
	}
}

// followedUntil is followed, or what there is where end is none.
func followedUntil(t *testing.T, r *Reader, end Position) []string {
	if end == (Position{}) {
		return texts(t, r)
	}
	return followed(t, r)
}

// TestRunsShareALine: what the one leaves without a newline is not the other's.
func TestRunsShareALine(t *testing.T) {
	o := place(t)
	o.Max, o.Keep = 8, 100
	w := open(t, o)
	out := output(t, w)
	marks := []Position{w.Position()}
	for _, text := range []string{"one\ntw", "o\nthree\n", "", "four\nfive\nsix\nseven\neight\n", "nine"} {
		say(t, w, out, text)
		marks = append(marks, w.Position())
	}
	want := [][]string{{"one", "tw…"}, {"o", "three"}, {}, {"four", "five", "six", "seven", "eight"}, {"nine…"}}
	for i := range want {
		r := read(t, o.Dir)
		r.Seek(marks[i])
		r.Until(marks[i+1])
		require.Equal(t, want[i], followed(t, r), "run %d", i)
		r.Seek(marks[i]) // it holds
		require.Equal(t, want[i], texts(t, r), "run %d", i)
	}
}

func TestUntilWhenItIsGone(t *testing.T) {
	dir := logOf(t, "a\n", "b\n", "c\n", "d\n")
	for n := 1; n <= 2; n++ {
		require.NoError(t, os.Remove(filepath.Join(dir, segmentName(n))))
	}
	r := read(t, dir)
	r.Seek(Position{1, 0})
	r.Until(Position{2, 2})
	require.Empty(t, followed(t, r))
	require.NotZero(t, r.Skipped())
	r.Seek(Position{1, 0})
	r.Until(Position{3, 2})
	require.Equal(t, []string{"c"}, followed(t, r))
}

func TestUntilInTheMiddleOfReading(t *testing.T) {
	r := read(t, logOf(t, "a\nb\nc\n"))
	_, err := r.Next() // and the buffer holds everything
	require.NoError(t, err)
	r.Until(Position{1, 4})
	require.Equal(t, []string{"b"}, texts(t, r))
	r.Until(Position{})
	require.Equal(t, []string{"c"}, texts(t, r))
}

// TestFollowEndsWithItsContextAlsoBetweenLines: also where there is a next line at once, for ever.
func TestFollowEndsWithItsContextAlsoBetweenLines(t *testing.T) {
	r := read(t, logOf(t, "a\nb\n"))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.Follow(ctx)
	require.NoError(t, err)
	cancel()
	_, err = r.Follow(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"b"}, texts(t, r))
}

func TestFollowWaitsForWhatIsBeforeUntil(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	r.Until(Position{1, 4})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Follow(ctx)
	require.ErrorIs(t, err, context.Canceled)
	go func() { _, _ = out.WriteString("a\nb\nc\n") }()
	require.Equal(t, []string{"a", "b"}, followed(t, r))
}
