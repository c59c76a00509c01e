package instance

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteFileReplacesWhateverLiesThere(t *testing.T) {
	for kind, put := range obstacles {
		if kind == "a directory" {
			continue
		}
		dir := openTemp(t)
		other := filepath.Join(dir.Name(), "elsewhere")
		require.NoError(t, os.WriteFile(other, []byte("mine"), 0o600))
		path := filepath.Join(dir.Name(), "f")
		if err := put(path); err != nil {
			t.Logf("no %s here: %v", kind, err)
			continue
		}
		inTime(t, "WriteFile over "+kind, func() { require.NoError(t, WriteFile(dir, "f", []byte("new")), kind) })
		fi, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), fi.Mode(), kind)
		require.Equal(t, "new", read(t, path))
		require.Equal(t, "mine", read(t, other), "written through %s", kind)
		require.Equal(t, []string{"elsewhere", "f"}, names(t, dir.Name()))
	}
}

func TestWriteFileDoesNotReplaceADirectory(t *testing.T) {
	for _, inside := range []string{"", "x"} {
		dir := openTemp(t)
		path := mkdir(t, dir.Name(), "f")
		if inside != "" {
			touch(t, path, inside)
		}
		err := WriteFile(dir, "f", []byte("new"))
		var perr *fs.PathError
		require.ErrorAs(t, err, &perr)
		require.Equal(t, path, perr.Path)
		require.Equal(t, []string{"f"}, names(t, dir.Name()), "a temporary file was left")
		require.DirExists(t, path)
	}
}

// TestDeadWritersNameIsNoObstacle: pids and counts are used again.
func TestDeadWritersNameIsNoObstacle(t *testing.T) {
	dir := openTemp(t)
	next := fmt.Sprintf("f.new-%d-%d", os.Getpid(), writes.Load()+1)
	require.NoError(t, os.WriteFile(filepath.Join(dir.Name(), next), []byte("half"), 0o400))
	require.NoError(t, WriteFile(dir, "f", []byte("b")))
	require.Equal(t, []string{"f"}, names(t, dir.Name()))
	require.Equal(t, "b", read(t, filepath.Join(dir.Name(), "f")))
}

// TestWritersAndReadersNeverSeeTornFiles: several writers of one name, as when services share an
// environment. Every write succeeds and every read gives one writer's bytes.
func TestWritersAndReadersNeverSeeTornFiles(t *testing.T) {
	const writers, rounds, size = 4, 100, 64 << 10
	dir := openTemp(t)
	require.NoError(t, WriteFile(dir, "f", bytes.Repeat([]byte{0}, size)))
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				if err := WriteFile(dir, "f", bytes.Repeat([]byte{byte(w)}, size)); err != nil && errs[w] == nil {
					errs[w] = err
				}
			}
		})
	}
	torn := ""
	for range rounds {
		data, err := ReadFile(dir, "f", size)
		if err != nil || len(data) != size || bytes.Count(data, data[:1]) != size {
			torn = "torn, short or unreadable"
		}
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Empty(t, torn)
	require.Equal(t, []string{"f"}, names(t, dir.Name()))
}

func TestReadFileRefusesWhatIsNoFile(t *testing.T) {
	for kind, put := range obstacles {
		if kind == "a file" || kind == "a socket" {
			continue
		}
		dir := openTemp(t)
		touch(t, dir.Name(), "elsewhere")
		path := filepath.Join(dir.Name(), "f")
		require.NoError(t, put(path))
		inTime(t, "ReadFile of "+kind, func() {
			_, err := ReadFile(dir, "f", 100)
			var kerr *KindError
			require.ErrorAs(t, err, &kerr, kind)
			require.Equal(t, KindError{Path: path, Kind: kind, Want: "a file"}, *kerr)
		})
	}
	dir := openTemp(t)
	if obstacles["a socket"](filepath.Join(dir.Name(), "f")) == nil {
		_, err := ReadFile(dir, "f", 100)
		require.Error(t, err)
	}
}

func TestReadFileHasALimit(t *testing.T) {
	dir := openTemp(t)
	path := filepath.Join(dir.Name(), "f")
	require.NoError(t, os.WriteFile(path, []byte("12345"), 0o600))
	data, err := ReadFile(dir, "f", 5)
	require.NoError(t, err)
	require.Equal(t, "12345", string(data))
	_, err = ReadFile(dir, "f", 4)
	require.ErrorContains(t, err, "5 bytes, more than 4")
	require.NoError(t, os.Truncate(path, 1<<40), "a hole, not bytes")
	_, err = ReadFile(dir, "f", 1<<20)
	require.ErrorContains(t, err, "more than 1048576")
	_, err = ReadFile(dir, "missing", 5)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestRemoveAndRenameStayInTheDirectory(t *testing.T) {
	dir := openTemp(t)
	require.NoError(t, Remove(dir, "missing"))
	out := filepath.Join(canonical(t), "out")
	require.NoError(t, os.WriteFile(out, []byte("mine"), 0o600))
	require.NoError(t, os.Symlink(out, filepath.Join(dir.Name(), "link")))
	require.NoError(t, Rename(dir, "link", "other"))
	require.NoError(t, Remove(dir, "other"))
	require.Equal(t, "mine", read(t, out))
	require.ErrorIs(t, Rename(dir, "missing", "x"), fs.ErrNotExist)
	mkdir(t, dir.Name(), "d")
	require.Error(t, Remove(dir, "d"))
}

func TestNamesCanBeAskedAgain(t *testing.T) {
	dir := openTemp(t)
	touch(t, dir.Name(), "a")
	for range 2 {
		list, err := Names(dir)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, list)
	}
	touch(t, dir.Name(), "b")
	list, err := Names(dir)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "b"}, list)
}

// TestSweepTakesDebrisOnly: "web.new-1" is a good name for a service.
func TestSweepTakesDebrisOnly(t *testing.T) {
	dir := openTemp(t)
	kept := []string{"web.json", "web.new-1.json", "a.new-b", "new-1", "x.new-", "web.json.bad-1", "web.new-1-2.json"}
	for _, name := range kept {
		touch(t, dir.Name(), name)
	}
	for _, name := range []string{"web.json.new-17-1", "hob.pid.new-4194304-12", "web.new-1.json.new-17-3", "hob.sock.new-17-00c0ffee"} {
		touch(t, dir.Name(), name)
	}
	require.NoError(t, Sweep(dir))
	list, err := Names(dir)
	require.NoError(t, err)
	require.ElementsMatch(t, kept, list)
}

// TestSweepTakesWhatAKilledWriterLeft is about the name that WriteFile uses, whatever it is.
func TestSweepTakesWhatAKilledWriterLeft(t *testing.T) {
	dir := openTemp(t)
	touch(t, dir.Name(), tempName("web.json"))
	require.NoError(t, Sweep(dir))
	require.Empty(t, names(t, dir.Name()))
}
