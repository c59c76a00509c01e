package servicelog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLogGoesOnWhereItsFilesAreNotAnyMore: as if it were the first line of all.
func TestLogGoesOnWhereItsFilesAreNotAnyMore(t *testing.T) {
	for name, lose := range map[string]func(o Options) error{
		"removed":            func(o Options) error { return os.Remove(filepath.Join(o.Dir, segmentName(1))) },
		"with its directory": func(o Options) error { return os.RemoveAll(o.Dir) },
		"all logs":           func(o Options) error { return os.RemoveAll(filepath.Dir(o.Dir)) },
		"renamed": func(o Options) error {
			return os.Rename(filepath.Join(o.Dir, segmentName(1)), filepath.Join(o.Dir, "yesterday"))
		},
		"replaced": func(o Options) error {
			return errors.Join(os.Rename(filepath.Join(o.Dir, segmentName(1)), filepath.Join(o.Dir, "yesterday")),
				os.WriteFile(filepath.Join(o.Dir, segmentName(1)), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			o := Options{Dir: filepath.Join(base, "log", "web"), FIFO: filepath.Join(base, "fifo")}
			w := open(t, o)
			out := output(t, w)
			say(t, w, out, "before\n")
			require.NoError(t, lose(o))
			say(t, w, out, "after\n")
			require.Equal(t, []string{"after"}, texts(t, read(t, o.Dir)))
			require.Zero(t, w.Lost())
		})
	}
	base := t.TempDir()
	o := Options{Dir: filepath.Join(base, "instance", "log", "web"), FIFO: filepath.Join(base, "fifo")}
	w := open(t, o)
	require.NoError(t, os.RemoveAll(filepath.Join(base, "instance")))
	say(t, w, output(t, w), "after\n")
	require.NoDirExists(t, filepath.Join(base, "instance"), "whose it is makes it again, and sees to its mode")
	require.EqualValues(t, len("after\n"), w.Lost())
}

// TestRemadeDirectoryTakesTheNextLines: the directory is removed under the writer; what a
// service writes afterwards, into the same FIFO, is in the new one.
func TestRemadeDirectoryTakesTheNextLines(t *testing.T) {
	base := t.TempDir()
	dir, fifo := filepath.Join(base, "log"), filepath.Join(base, "fifo")
	w, err := Open(Options{Dir: dir, FIFO: fifo})
	require.NoError(t, err)
	defer w.Close()
	out, err := w.Output()
	require.NoError(t, err)
	defer out.Close()
	write := func(text string) {
		_, err := out.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, w.Drain(t.Context()))
	}
	write("before\n")
	// The writer may go on in another segment in between, which makes the removal fail.
	require.Eventually(t, func() bool { return os.RemoveAll(dir) == nil }, time.Minute, time.Millisecond)
	require.NoError(t, os.Remove(fifo))
	require.NoError(t, w.Remake())
	write("after\n")
	r, err := NewReader(dir)
	require.NoError(t, err)
	defer r.Close()
	line, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, "after", string(line.Text))
	_, err = r.Next()
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, w.Lost())
	_, err = w.Output()
	require.True(t, errors.Is(err, os.ErrNotExist), "the FIFO has no name any more: %v", err)
}
