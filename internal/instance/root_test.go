package instance

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFindRoot(t *testing.T) {
	for name, c := range map[string]struct {
		dirs, files      []string // below the home directory
		from, want, home string
	}{
		"hob.toml nearest wins":                {files: []string{"a/hob.toml", "a/b/hob.toml"}, from: "a/b/c", want: "a/b"},
		"hob.toml further up beats .git":       {files: []string{"a/hob.toml"}, dirs: []string{"a/b/.git"}, from: "a/b/c", want: "a"},
		"hob.toml in the directory itself":     {files: []string{"a/hob.toml"}, from: "a", want: "a"},
		".git":                                 {dirs: []string{"a/.git"}, from: "a/b/c", want: "a"},
		".git that is a file, a worktree's":    {files: []string{"a/.git"}, from: "a/b", want: "a"},
		".hg":                                  {dirs: []string{"a/.hg"}, from: "a/b", want: "a"},
		".jj":                                  {dirs: []string{"a/.jj"}, from: "a/b", want: "a"},
		"the nearest of .git and .hg":          {dirs: []string{"a/.git", "a/b/.hg"}, from: "a/b/c", want: "a/b"},
		"no marker":                            {from: "a/b", want: "a/b"},
		".git in home is not seen from below":  {dirs: []string{".git"}, from: "a/b", want: "a/b"},
		"hob.toml in home neither":             {files: []string{"hob.toml"}, from: "a/b", want: "a/b"},
		"home itself":                          {dirs: []string{".git"}, from: ".", want: "."},
		"home with hob.toml":                   {files: []string{"hob.toml"}, from: ".", want: "."},
		"home by way of a symlink":             {dirs: []string{".git"}, from: "a/b", want: "a/b", home: "link"},
		"home with a trailing slash":           {dirs: []string{".git"}, from: "a/b", want: "a/b", home: "slash"},
		"something else called like a marker":  {files: []string{"a/.gitignore", "a/hob.toml.bak"}, from: "a/b", want: "a/b"},
		"a dangling symlink for a marker does": {from: "a/b", want: "a", home: "dangling"},
	} {
		t.Run(name, func(t *testing.T) {
			home := canonical(t)
			mkdir(t, home, c.from)
			for _, d := range c.dirs {
				mkdir(t, home, d)
			}
			for _, f := range c.files {
				mkdir(t, filepath.Dir(filepath.Join(home, f)))
				touch(t, home, f)
			}
			env := home
			switch c.home {
			case "link":
				env = filepath.Join(t.TempDir(), "home")
				require.NoError(t, os.Symlink(home, env))
			case "slash":
				env += "/"
			case "dangling":
				require.NoError(t, os.Symlink("nowhere", filepath.Join(home, "a", ".git")))
			}
			t.Setenv("HOME", env)
			r, err := FindRoot(filepath.Join(home, c.from))
			require.NoError(t, err)
			require.Equal(t, filepath.Join(home, c.want), r.Path)
			require.False(t, r.Gone())
		})
	}
}

func TestSameRootBySymlinkDotsAndSlashes(t *testing.T) {
	base := canonical(t)
	dir := mkdir(t, base, "a", "shop")
	require.NoError(t, os.Symlink(filepath.Join(base, "a"), filepath.Join(base, "link")))
	require.NoError(t, os.Symlink(dir, filepath.Join(base, "last")))
	t.Setenv("HOME", base)
	t.Setenv("HOB_STATE_DIR", filepath.Join(base, "state"))
	want, err := OpenRoot(dir)
	require.NoError(t, err)
	require.Equal(t, dir, want.Path)
	one, err := New(want, "")
	require.NoError(t, err)
	t.Chdir(dir)
	for _, alias := range []string{".", "./", dir + "/", dir + "//.", dir + "/../shop", base + "/link/shop", base + "/last", base + "/last/",
		"../shop", "../../link/../a/shop"} {
		r, err := OpenRoot(alias)
		require.NoError(t, err, alias)
		require.Equal(t, want, r, alias)
		require.True(t, r.Same(want))
		i, err := New(r, "")
		require.NoError(t, err)
		require.Equal(t, one, i, alias)
		r, err = FindRoot(alias)
		require.NoError(t, err, alias)
		require.Equal(t, want, r, alias)
	}
}

// TestOddNamesAreRoots: nothing in a path is special, not even what the kernel says of the deleted.
func TestOddNamesAreRoots(t *testing.T) {
	base := canonical(t)
	seen := map[string]string{}
	for _, name := range []string{"with\nnewline", " ", "x (deleted)", "-rf", "ünï", "\xff\xfe", "a;b$(c)"} {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Logf("not on this file system: %q: %v", name, err)
			continue
		}
		r, err := OpenRoot(dir)
		require.NoError(t, err, "%q", name)
		require.Equal(t, dir, r.Path)
		require.False(t, r.Gone())
		require.Empty(t, seen[id(r.Path, "")])
		seen[id(r.Path, "")] = name
	}
}

func TestOpenRootOfWhatIsNoDirectory(t *testing.T) {
	base := canonical(t)
	_, err := OpenRoot(filepath.Join(base, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = OpenRoot(touch(t, base, "file"))
	require.ErrorContains(t, err, "not a directory")
	_, err = FindRoot(filepath.Join(base, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestDeletedWorkingDirectoryIsNoRoot(t *testing.T) {
	dir := canonical(t)
	a := ask(t, "deleted", os.Geteuid(), dir, nil, "HOME="+dir)
	require.Empty(t, a.Text)
	require.NotEmpty(t, a.Err)
	require.Equal(t, "*fs.PathError", a.Kind)
	require.Empty(t, names(t, dir))
}

// TestReplacedRootIsAnother: the same path, another directory. The daemon must notice.
func TestReplacedRootIsAnother(t *testing.T) {
	base := canonical(t)
	r, err := OpenRoot(mkdir(t, base, "p"))
	require.NoError(t, err)
	require.False(t, r.Gone())
	require.NoError(t, os.Rename(r.Path, filepath.Join(base, "old")))
	require.True(t, r.Gone())
	again, err := OpenRoot(mkdir(t, base, "p"))
	require.NoError(t, err)
	require.True(t, r.Gone())
	require.False(t, r.Same(again))
	require.Equal(t, id(r.Path, ""), id(again.Path, ""))
}

// TestRootThatCannotBeLookedAtIsNotGone: whatever the reason is, a file server that does not answer or a directory that was closed.
func TestRootThatCannotBeLookedAtIsNotGone(t *testing.T) {
	base := canonical(t)
	r, err := OpenRoot(mkdir(t, base, "parent/p"))
	require.NoError(t, err)
	parent := filepath.Join(base, "parent")
	require.NoError(t, os.Rename(parent, filepath.Join(base, "old")))
	require.True(t, r.Gone())
	require.NoError(t, os.Symlink(parent, parent)) // ELOOP
	require.False(t, r.Gone())
	require.NoError(t, os.Remove(parent))
	require.NoError(t, os.WriteFile(parent, nil, 0o600)) // ENOTDIR
	require.True(t, r.Gone())
}

// TestForeignMarkerIsRefused: whoever can write /tmp/hob.toml must not decide what runs here.
func TestForeignMarkerIsRefused(t *testing.T) {
	needRoot(t)
	for _, marker := range []string{"hob.toml", ".git"} {
		for _, c := range []struct {
			owner, uid int
			refused    bool
		}{
			{somebody, 0, true},
			{0, 0, false},
			{0, somebody, false}, // root may
			{somebody, somebody, false},
			{somebody - 1, somebody, true},
		} {
			home := reachable(t, c.uid)
			below := mkdir(t, home, "a", "b")
			require.NoError(t, os.Chmod(filepath.Join(home, "a"), 0o755))
			require.NoError(t, os.Chmod(below, 0o755))
			path := touch(t, home, "a", marker)
			require.NoError(t, os.Lchown(path, c.owner, -1))
			a := ask(t, "find", c.uid, below, nil, "HOME="+home)
			if c.refused {
				require.Equal(t, "*instance.OwnerError", a.Kind, "%s of %d as %d: %+v", marker, c.owner, c.uid, a)
				require.Contains(t, a.Err, path+" belongs to ")
			} else {
				require.Equal(t, answer{Text: filepath.Join(home, "a")}, a, "%s of %d as %d", marker, c.owner, c.uid)
			}
		}
	}
}
