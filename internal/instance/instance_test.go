package instance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIDIsFrozen: another hash would be another daemon beside the one that runs.
func TestIDIsFrozen(t *testing.T) {
	// printf '/home/u/shop\0' | sha256sum, and with a name behind the NUL.
	require.Equal(t, "9ccf2f91c00d2924", id("/home/u/shop", ""))
	require.Equal(t, "10e5b52e22a55620", id("/home/u/shop", "mytool"))
	require.NotEqual(t, id("/a", "b"), id("/ab", ""))
	require.NotEqual(t, id("/a\nb", ""), id("/a", "\nb"))
}

func TestPaths(t *testing.T) {
	t.Setenv("HOB_STATE_DIR", "/s")
	i, err := New(Root{Path: "/home/u/shop", Dev: 1, Ino: 2}, "")
	require.NoError(t, err)
	require.Equal(t, "/s/instance-9ccf2f91c00d2924.lock", i.LockPath())
	require.Equal(t, "/s/instance-9ccf2f91c00d2924", i.Dir())
	require.Equal(t, "/s/instance-9ccf2f91c00d2924/state/web.json", i.Path(StateName, "web.json"))
	require.Equal(t, filepath.Dir(i.LockPath()), filepath.Dir(i.Dir()), "removing the directory never removes the lock")
	require.NoFileExists(t, "/s")
}

func TestKeyIsOfInstanceAndStateDirectory(t *testing.T) {
	a, b := openTemp(t), openTemp(t)
	i, j := Instance{ID: "0123456789abcdef"}, Instance{ID: "fedcba9876543210"}
	key := func(i Instance, dir *os.File) string {
		k, err := i.Key(dir)
		require.NoError(t, err)
		require.Less(t, len(k), 100, "it has to fit into sun_path")
		return k
	}
	require.Contains(t, key(i, a), "hob/0123456789abcdef/")
	require.NotEqual(t, key(i, a), key(j, a))
	require.NotEqual(t, key(i, a), key(i, b))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(a.Name(), link))
	aliased, err := os.Open(link)
	require.NoError(t, err)
	defer aliased.Close()
	require.Equal(t, key(i, a), key(i, aliased))
	require.NoError(t, aliased.Close())
	_, err = i.Key(aliased)
	require.Error(t, err)
}

func TestAllListsInstancesAndNothingElse(t *testing.T) {
	state := filepath.Join(openTemp(t).Name(), "hob")
	t.Setenv("HOB_STATE_DIR", state)
	dir, ids, err := All()
	require.NoError(t, err)
	require.Equal(t, state, dir)
	require.Empty(t, ids)
	require.NoDirExists(t, state, "looking creates nothing")

	mkdir(t, state, prefix+"0123456789abcdef")
	mkdir(t, state, prefix+"fedcba9876543210")
	touch(t, state, prefix+"0123456789abcdef.lock")
	touch(t, state, prefix+"1111111111111111") // a file
	for _, other := range []string{"x", prefix, prefix + "0123456789ABCDEF", prefix + "0123456789abcdeg", prefix + "0123456789abcdef0"} {
		mkdir(t, state, other)
	}
	_, ids, err = All()
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"0123456789abcdef", "fedcba9876543210"}, ids)

	i, err := ByID(ids[0])
	require.NoError(t, err)
	require.DirExists(t, i.Dir())
	for _, bad := range []string{"", "../../../../x", "0123456789ABCDEF", "0123456789abcdef0"} {
		_, err := ByID(bad)
		require.Error(t, err, bad)
	}
}
