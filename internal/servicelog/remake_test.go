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
