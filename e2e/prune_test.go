//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPruneKeepsWhatItCanNotName: JSON has no words for some paths. That a project can't be found by what is left of its own is no sign that it is gone.
func TestPruneKeepsWhatItCanNotName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.project = filepath.Join(w.project, "caf\xe9")
	require.NoError(t, os.Mkdir(w.project, 0o755))
	w.toml("[services.web]\nrun = 'sleep 1000'\n")
	w.ok("up")
	w.ok("daemon", "stop")
	w.ok("prune")
	require.Equal(t, "stopped", w.list()["web"].State)

	other := *w
	other.project = filepath.Join(w.project, "gone")
	require.NoError(t, os.Mkdir(other.project, 0o755))
	other.toml("[services.web]\nrun = 'true'\n")
	other.ok("up")
	other.ok("daemon", "stop")
	require.NoError(t, os.RemoveAll(other.project))
	w.ok("prune")
	require.Equal(t, "stopped", w.list()["web"].State)
}
