package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFiguresAreKeptBetweenTheirMarks: what was there before goes, what is around stays, and the other figures too.
func TestFiguresAreKeptBetweenTheirMarks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "document.md")
	const bench = "<!-- bench -->\nfloors\n<!-- end of bench -->\n"
	require.NoError(t, os.WriteFile(path, []byte("above\n"+bench+"<!-- peers -->\n<!-- end of peers -->\nbelow\n"), 0o600))
	for _, figures := range []string{"old", "new"} {
		r := &report{}
		r.text.WriteString("\n" + figures + "\n")
		require.NoError(t, keep(path, "peers", "here", r))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "above\n"+bench+"<!-- peers -->\n\nhere.\n\n```\nnew\n```\n\n<!-- end of peers -->\nbelow\n", string(text))
	require.ErrorContains(t, keep(path, "others", "here", &report{}), "<!-- others -->")
}
