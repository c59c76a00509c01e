package instance

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWatchSees every loss that a daemon must mend: an unlinked file that it has open too, which
// shows as IN_ATTRIB at the file and as nothing at all at its name.
func TestWatchSees(t *testing.T) {
	for what, do := range map[string]func(dir, root string) error{
		"a file removed":        func(dir, _ string) error { return os.Remove(filepath.Join(dir, "f")) },
		"a file replaced":       func(dir, _ string) error { return os.Rename(filepath.Join(dir, "g"), filepath.Join(dir, "f")) },
		"a file moved away":     func(dir, root string) error { return os.Rename(filepath.Join(dir, "f"), filepath.Join(root, "f")) },
		"the directory removed": func(dir, _ string) error { return os.RemoveAll(dir) },
		"the directory moved":   func(dir, _ string) error { return os.Rename(dir, dir+"2") },
		"the project moved":     func(_, root string) error { return os.Rename(root, root+"2") },
		"the project removed":   func(_, root string) error { return os.RemoveAll(root) },
		"what is above it moved": func(dir, _ string) error {
			above := filepath.Dir(dir)
			return errors.Join(os.Rename(above, above+"2"), os.Rename(above+"2", above))
		},
		"the directory's new owner": func(dir, _ string) error { return os.Chmod(dir, 0o755) },
	} {
		base := canonical(t)
		dir, root := mkdir(t, base, "dir"), mkdir(t, base, "root")
		touch(t, dir, "g")
		f, err := os.Open(touch(t, dir, "f"))
		require.NoError(t, err)
		changed, stop, err := Watch([]string{dir}, []string{root}, []string{filepath.Dir(dir), "/nonexistent"})
		require.NoError(t, err)
		require.NoError(t, do(dir, root))
		select {
		case <-changed:
		case <-time.After(patience):
			t.Errorf("not seen: %s", what)
		}
		stop()
		stop()
		for range changed { // closed, after one more at most
		}
		require.NoError(t, f.Close())
	}
}

func TestWatchOfNothing(t *testing.T) {
	_, _, err := Watch([]string{filepath.Join(canonical(t), "missing")}, nil, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}
