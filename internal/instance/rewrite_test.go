package instance

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRewriteKeepsTheOneBefore(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	path := filepath.Join(dir.Name(), "f")
	files := map[uint64]bool{}
	for n := range 10 {
		require.NoError(t, Rewrite(dir, "f", fmt.Append(nil, n)))
		require.Equal(t, fmt.Sprint(n), read(t, path))
		fi, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), fi.Mode())
		files[fi.Sys().(*syscall.Stat_t).Ino] = true
		if n > 0 {
			require.Equal(t, fmt.Sprint(n-1), read(t, path+OldSuffix))
		}
	}
	require.Len(t, files, 2, "files are made anew")
}

// TestRewriteWritesThroughNothing: whatever has the names, the bytes are in a file of that name afterwards, and nowhere else.
func TestRewriteWritesThroughNothing(t *testing.T) {
	t.Parallel()
	for kind, put := range obstacles {
		for _, name := range []string{"f", "f" + OldSuffix} {
			dir := openTemp(t)
			other := filepath.Join(dir.Name(), "elsewhere")
			require.NoError(t, os.WriteFile(other, []byte("mine"), 0o600))
			if err := put(filepath.Join(dir.Name(), name)); err != nil {
				t.Logf("no %s here: %v", kind, err)
				continue
			}
			for _, text := range []string{"one", "two", "three"} {
				inTime(t, "Rewrite over "+kind, func() { require.NoError(t, Rewrite(dir, "f", []byte(text)), kind) })
				require.Equal(t, text, read(t, filepath.Join(dir.Name(), "f")), kind)
			}
			require.Equal(t, "mine", read(t, other), "written through %s", kind)
		}
	}
	dir := openTemp(t)
	other := filepath.Join(dir.Name(), "elsewhere")
	require.NoError(t, os.WriteFile(other, []byte("mine"), 0o600))
	require.NoError(t, os.Link(other, filepath.Join(dir.Name(), "f"+OldSuffix)))
	require.NoError(t, Rewrite(dir, "f", []byte("new")))
	require.Equal(t, "mine", read(t, other), "written through a hard link")
}
