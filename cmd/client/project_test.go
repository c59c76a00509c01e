package client

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhoNamesTheProject: -C beats HOB_PROJECT beats the working directory, and each is only where
// the search begins.
func TestWhoNamesTheProject(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, name := range []string{"flag", "env", "cwd"} {
		require.NoError(t, os.MkdirAll(filepath.Join(base, name, "sub"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(base, name, "hob.toml"), nil, 0o644))
	}
	t.Chdir(filepath.Join(base, "cwd", "sub"))
	t.Setenv("HOB_PROJECT", filepath.Join(base, "env", "sub"))
	a := &app{flags: flags{dir: filepath.Join(base, "flag", "sub")}}
	for _, want := range []string{"flag", "env", "cwd"} {
		root, err := a.project()
		require.NoError(t, err)
		require.Equal(t, filepath.Join(base, want), root.Path)
		if a.dir == "" {
			t.Setenv("HOB_PROJECT", "")
		}
		a.dir = ""
	}
}

func TestMissingProjectIsNamed(t *testing.T) {
	code, _, stderr := call("-C", "/no/such/directory", "ps")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "/no/such/directory")
}

// TestStrangersMarkerDecidesNothing: it is refused, and -C is the way out that the error names.
func TestStrangersMarkerDecidesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a file away")
	}
	p := newProject(t)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "hob.toml"), nil, 0o644))
	require.NoError(t, os.Chown(filepath.Join(p.dir, "hob.toml"), 12345, -1))
	t.Setenv("HOB_PROJECT", "")
	t.Chdir(p.dir)
	e := p.failure(1, "ps")
	require.Contains(t, e.Message, "uid 12345")
	require.Contains(t, e.Hint, "-C DIR")
	p.document(0, "-C", p.dir, "ps")
}

func TestDaemonProgramIsNamedByTheEnvironmentFirst(t *testing.T) {
	t.Setenv("HOB_DAEMON", "/x/hobd")
	require.Equal(t, "/x/hobd", daemonProgram())
	t.Setenv("HOB_DAEMON", "")
	require.Equal(t, "hobd", daemonProgram(), "there is none beside the test's program")
}
