package process

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLookPathUsesTheGivenPATHAndDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, f := range []string{"a/tool", "b/tool", "work/tool", "work/rel/only"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, f), nil, 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a/plain"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "a/folder"), 0o700))
	work := filepath.Join(dir, "work")
	path := func(entries ...string) []string { return []string{"PATH=/none", "PATH=" + strings.Join(entries, ":")} }
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")

	for name, c := range map[string]struct {
		name string
		env  []string
		want string // below dir; or
		is   error
	}{
		"first entry wins":         {name: "tool", env: path(a, b), want: "a/tool"},
		"a missing entry is no":    {name: "tool", env: path("/none", b), want: "b/tool"},
		"relative entry":           {name: "only", env: path(a, "rel"), want: "work/rel/only"},
		"empty entry":              {name: "tool", env: path("", a), want: "work/tool"},
		"empty PATH":               {name: "tool", env: path(), want: "work/tool"},
		"slash: relative to dir":   {name: "rel/only", env: path(a), want: "work/rel/only"},
		"slash: up":                {name: "../b/tool", env: path(), want: "b/tool"},
		"absolute":                 {name: filepath.Join(dir, "b/tool"), env: nil, want: "b/tool"},
		"not found":                {name: "nosuch", env: path(a, b), is: exec.ErrNotFound},
		"empty name":               {name: "", env: path(a), is: exec.ErrNotFound},
		"found, not executable":    {name: "plain", env: path(a, b), is: fs.ErrPermission},
		"a directory is no":        {name: "folder", env: path(a), is: exec.ErrNotFound},
		"slash: not executable":    {name: "../a/plain", is: fs.ErrPermission},
		"slash: missing":           {name: "./nosuch", is: fs.ErrNotExist},
		"slash: a directory":       {name: "../a", is: syscall.EISDIR},
		"not searched for in dir":  {name: "tool", env: path(filepath.Join(dir, "empty")), is: exec.ErrNotFound},
		"caller's PATH is nothing": {name: "sh", env: path(a), is: exec.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LookPath(c.name, work, c.env)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
				require.ErrorAs(t, err, new(*exec.Error))
				return
			}
			require.NoError(t, err)
			require.Equal(t, filepath.Join(dir, c.want), got)
		})
	}
	got, err := LookPath("sh", work, nil)
	require.NoError(t, err, "without PATH, where execvp(3) looks")
	require.True(t, filepath.IsAbs(got))
}
