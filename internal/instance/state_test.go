package instance

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStateDirectory: nothing but the home directory, XDG_STATE_HOME and HOB_STATE_DIR decides.
func TestStateDirectory(t *testing.T) {
	home := canonical(t)
	if name, remote := remoteFS(home); remote {
		t.Skip("the temporary directory is on " + name)
	}
	usual := filepath.Join(home, defaultState, "hob")
	for name, c := range map[string]struct {
		env   []string
		want  string
		moved bool
	}{
		"HOME":                             {env: []string{"HOME=" + home}, want: usual},
		"HOME and TMPDIR":                  {env: []string{"HOME=" + home, "TMPDIR=/x"}, want: usual},
		"HOME and XDG_RUNTIME_DIR":         {env: []string{"HOME=" + home, "XDG_RUNTIME_DIR=/nonexistent"}, want: usual},
		"HOME and the other XDG variables": {env: []string{"HOME=" + home, "XDG_DATA_HOME=/x", "XDG_CONFIG_HOME=/y", "XDG_CACHE_HOME=/z"}, want: usual},
		"relative XDG_STATE_HOME":          {env: []string{"HOME=" + home, "XDG_STATE_HOME=x/y"}, want: usual},
		"empty XDG_STATE_HOME":             {env: []string{"HOME=" + home, "XDG_STATE_HOME="}, want: usual},
		"XDG_STATE_HOME":                   {env: []string{"HOME=" + home, "XDG_STATE_HOME=" + home + "/s"}, want: home + "/s/hob"},
		"XDG_STATE_HOME without HOME":      {env: []string{"XDG_STATE_HOME=" + home + "/s"}, want: home + "/s/hob"},
		"HOB_STATE_DIR":                    {env: []string{"HOME=" + home, "HOB_STATE_DIR=" + home + "/d"}, want: home + "/d", moved: true},
		"HOB_STATE_DIR with slashes":       {env: []string{"HOME=" + home, "HOB_STATE_DIR=" + home + "//d/./e/../"}, want: home + "/d", moved: true},
		"HOB_STATE_DIR alone":              {env: []string{"HOB_STATE_DIR=" + home + "/d"}, want: home + "/d", moved: true},
		"HOB_STATE_DIR beats XDG_STATE_HOME": {env: []string{"HOME=" + home, "HOB_STATE_DIR=" + home + "/d", "XDG_STATE_HOME=" + home + "/s"},
			want: home + "/d", moved: true},
		"empty HOB_STATE_DIR": {env: []string{"HOME=" + home, "HOB_STATE_DIR="}, want: usual},
	} {
		moved := ""
		if c.moved {
			moved = "HOB_STATE_DIR is set"
		}
		require.Equal(t, answer{Text: c.want + " " + moved}, ask(t, "state", os.Geteuid(), "/", nil, c.env...), name)
	}
	require.Empty(t, names(t, home), "to say where it would be creates nothing")
}

func TestRelativeStateDirectoryIsRefused(t *testing.T) {
	dir := canonical(t)
	a := ask(t, "state", os.Geteuid(), dir, nil, "HOME="+dir, "HOB_STATE_DIR=x/y")
	require.Equal(t, "HOB_STATE_DIR=x/y is not absolute", a.Err)
	a = ask(t, "state", os.Geteuid(), dir, nil, "HOME=x/y")
	require.Equal(t, "HOME=x/y is not absolute", a.Err)
}

// TestNoHomeMeansTheUserDatabase: cron and env -i have no HOME, and must see the same instance.
func TestNoHomeMeansTheUserDatabase(t *testing.T) {
	for _, env := range [][]string{nil, {"HOME="}, {"XDG_STATE_HOME=x/y"}, {"TMPDIR=/x"}} {
		a := ask(t, "state", os.Geteuid(), "/", nil, env...)
		u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
		if err != nil {
			require.Contains(t, a.Err, "find the home directory: HOME is not set and ")
			continue
		}
		require.Equal(t, answer{Text: filepath.Join(u.HomeDir, defaultState, "hob") + " "}, a)
	}
}

func TestUserWithoutEntryNeedsAHome(t *testing.T) {
	needRoot(t)
	const nobody = 3999999
	if _, err := user.LookupId(strconv.Itoa(nobody)); err == nil {
		t.Skip("that user exists")
	}
	a := ask(t, "state", nobody, "/", nil)
	require.Contains(t, a.Err, "find the home directory: HOME is not set and ")
	a = ask(t, "state", nobody, "/", nil, "HOME=/h")
	require.Equal(t, answer{Text: filepath.Join("/h", defaultState, "hob") + " "}, a)
}

func TestStateHomeChanged(t *testing.T) {
	t.Setenv("HOME", "/h")
	for set, want := range map[string]bool{"": false, "x": false, "/h/" + defaultState: false, "/h/" + defaultState + "/": false, "/s": true} {
		t.Setenv("XDG_STATE_HOME", set)
		require.Equal(t, want, StateHomeChanged(), set)
	}
}

func TestOpenStateCreatesOnlyWhenTold(t *testing.T) {
	base := canonical(t)
	i := Instance{ID: "0123456789abcdef", State: filepath.Join(base, "a", "b", "hob")}
	_, err := i.OpenState(false)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, names(t, base))

	state, err := i.OpenState(true)
	require.NoError(t, err)
	defer state.Close()
	_, err = i.OpenDir(state, false)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, names(t, i.State))

	dir, err := i.OpenDir(state, true)
	require.NoError(t, err)
	defer dir.Close()
	_, err = OpenSub(dir, "state", false)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, names(t, i.Dir()))

	sub, err := OpenSub(dir, "state", true)
	require.NoError(t, err)
	defer sub.Close()
	for _, path := range []string{filepath.Join(base, "a"), filepath.Join(base, "a", "b"), i.State, i.Dir(), i.Path("state")} {
		fi, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o700, fi.Mode(), path)
	}
	again, err := i.OpenState(true)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// opens are the three doors that verify what is behind them.
var opens = map[string]func(path string, create bool) (*os.File, error){
	"OpenState": func(path string, create bool) (*os.File, error) { return Instance{State: path}.OpenState(create) },
	"OpenDir": func(path string, create bool) (*os.File, error) {
		i := Instance{State: filepath.Dir(path), ID: filepath.Base(path)[len(prefix):]}
		state, err := i.OpenState(false)
		if err != nil {
			return nil, err
		}
		defer state.Close()
		return i.OpenDir(state, create)
	},
	"OpenSub": func(path string, create bool) (*os.File, error) {
		dir, err := openDir(filepath.Dir(path), false)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		return OpenSub(dir, filepath.Base(path), create)
	},
}

const doorName = prefix + "0123456789abcdef"

func TestOnlyADirectoryIsOpened(t *testing.T) {
	for door, open := range opens {
		for kind, put := range obstacles {
			if kind == "a directory" {
				continue
			}
			for _, create := range []bool{false, true} {
				path := filepath.Join(openTemp(t).Name(), doorName)
				if err := put(path); err != nil {
					t.Logf("no %s here: %v", kind, err)
					continue
				}
				inTime(t, door+" of "+kind, func() {
					_, err := open(path, create)
					var kerr *KindError
					require.ErrorAs(t, err, &kerr, "%s of %s", door, kind)
					require.Equal(t, KindError{Path: path, Kind: kind, Want: "a directory"}, *kerr)
				})
				require.Len(t, names(t, filepath.Dir(path)), 1, "%s made something through %s", door, kind)
			}
		}
	}
}

func TestSymlinkToADirectoryIsRefusedAboveItIsNot(t *testing.T) {
	base := openTemp(t).Name()
	real := mkdir(t, base, "real")
	require.NoError(t, os.Symlink("real", filepath.Join(base, "link")))
	_, err := Instance{State: filepath.Join(base, "link")}.OpenState(true)
	var kerr *KindError
	require.ErrorAs(t, err, &kerr)
	require.Empty(t, names(t, real))

	state, err := Instance{State: filepath.Join(base, "link", "hob")}.OpenState(true)
	require.NoError(t, err, "/home may be a symlink")
	require.NoError(t, state.Close())
	require.Equal(t, []string{"hob"}, names(t, real))
}

// TestOpenDirectoryIsRefusedAndLeftAlone: its mode is somebody's decision or somebody's attack.
func TestOpenDirectoryIsRefusedAndLeftAlone(t *testing.T) {
	for door, open := range opens {
		for _, mode := range []fs.FileMode{0o755, 0o777, 0o770, 0o701, 0o720, 0o704} {
			path := mkdir(t, openTemp(t).Name(), doorName)
			require.NoError(t, os.Chmod(path, mode))
			_, err := open(path, true)
			var merr *ModeError
			require.ErrorAs(t, err, &merr, door)
			require.ErrorContains(t, err, path+" has mode 0"+strconv.FormatUint(uint64(mode), 8))
			fi, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, mode, fi.Mode().Perm(), "%s changed the mode", door)
		}
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	needRoot(t)
	for door, open := range opens {
		for _, mode := range []fs.FileMode{0o700, 0o777} {
			path := mkdir(t, openTemp(t).Name(), doorName)
			require.NoError(t, os.Chmod(path, mode))
			require.NoError(t, os.Chown(path, somebody, somebody))
			_, err := open(path, true)
			var oerr *OwnerError
			require.ErrorAs(t, err, &oerr, door)
			require.Equal(t, somebody, oerr.Owner)
			require.Equal(t, 0, oerr.Want)
			require.NotEmpty(t, oerr.Hint)
			require.ErrorContains(t, err, path+" belongs to ")
		}
	}
}
