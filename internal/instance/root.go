package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Root is a project's directory: its canonical path and its identity in the file system.
type Root struct {
	Path string `json:"path"`
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
}

// markers make a directory a project when no ancestor has a hob.toml.
var markers = []string{".git", ".hg", ".jj"}

// OpenRoot gives the Root of exactly dir. The directory is opened and its name read back from
// the kernel, so a symlink, "..", a trailing slash or another letter case means the same root.
func OpenRoot(dir string) (Root, error) {
	return openRoot(dir)
}

// FindRoot gives the project that dir lies in: the nearest ancestor with hob.toml, else with
// .git, .hg or .jj (below the home directory only), else dir itself. A marker of another user
// (not root) is refused: whoever can write /tmp/hob.toml must not decide what runs here.
func FindRoot(dir string) (Root, error) {
	start, err := OpenRoot(dir)
	if err != nil {
		return Root{}, err
	}
	home := homeRoot()
	for _, names := range [][]string{{"hob.toml"}, markers} {
		found, err := findUp(start.Path, home, names)
		if err != nil {
			return Root{}, err
		}
		if found != "" {
			return OpenRoot(found)
		}
	}
	return start, nil
}

// findUp climbs from dir to the nearest directory that has one of names. Coming from below it
// stops short of home: a stray marker there would make everything one project.
func findUp(dir, home string, names []string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		if d == home {
			return "", nil
		}
		for _, name := range names {
			ok, err := marker(filepath.Join(d, name))
			if ok || err != nil {
				return d, err
			}
		}
		if d == filepath.Dir(d) {
			return "", nil
		}
	}
}

func marker(path string) (bool, error) {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a project: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && int(st.Uid) != uid && st.Uid != 0 {
		return false, &OwnerError{Path: path, Owner: int(st.Uid), Want: uid,
			Hint: "name the project yourself with -C DIR or HOB_PROJECT, if you trust it"}
	}
	return true, nil
}

// homeRoot is the canonical home directory, or "" when there is none.
func homeRoot() string {
	home, err := homeDir()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(home); err == nil {
		return real
	}
	return home
}

// Same reports whether r and o are the same directory of the file system.
func (r Root) Same(o Root) bool { return r.Dev == o.Dev && r.Ino == o.Ino }

// Gone reports that nothing, or another directory, has the path that r was made of. A directory that can't be looked at is not gone:
// its parent may be closed just now, or a file server may not answer.
func (r Root) Gone() bool {
	var st syscall.Stat_t
	switch err := syscall.Stat(r.Path, &st); err {
	case nil:
		return uint64(st.Dev) != r.Dev || uint64(st.Ino) != r.Ino
	case syscall.ENOENT, syscall.ENOTDIR:
		return true
	}
	return false
}
