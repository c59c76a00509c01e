package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/adrg/xdg"
)

// OwnerError says that a file or directory belongs to somebody else.
type OwnerError struct {
	Path        string
	Owner, Want int // user ids
	Hint        string
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s belongs to %s, not to you (%s)", e.Path, userName(e.Owner), userName(e.Want))
}

// ModeError says that a directory is open to others.
type ModeError struct {
	Path string
	Mode fs.FileMode
}

func (e *ModeError) Error() string {
	return fmt.Sprintf("%s has mode %04o, others could reach in", e.Path, e.Mode.Perm())
}

// KindError says that something else lies where a file or directory of ours belongs.
type KindError struct {
	Path string
	Kind string // "a symlink", "a directory", …
	Want string
}

func (e *KindError) Error() string {
	return fmt.Sprintf("%s is %s, not %s", e.Path, e.Kind, e.Want)
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

// homeDir is $HOME, else what the user database says: cron and env -i have no HOME.
func homeDir() (string, error) {
	if home := os.Getenv("HOME"); home != "" {
		if !filepath.IsAbs(home) {
			return "", fmt.Errorf("HOME=%s is not absolute", home)
		}
		return home, nil
	}
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return "", fmt.Errorf("find the home directory: HOME is not set and %w", err)
	}
	return u.HomeDir, nil
}

// stateDir is HOB_STATE_DIR, else hob below the XDG state directory, else, when that lies on a
// file system where locks or sockets can't be trusted, a local directory of this user.
func stateDir() (dir, moved string, err error) {
	if dir := os.Getenv("HOB_STATE_DIR"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", "", fmt.Errorf("HOB_STATE_DIR=%s is not absolute", dir)
		}
		return filepath.Clean(dir), "HOB_STATE_DIR is set", nil
	}
	dir, err = usualDir()
	if err != nil {
		return "", "", err
	}
	if fsName, remote := remoteFS(dir); remote {
		local := filepath.Join("/var/tmp", "hob-"+strconv.Itoa(os.Geteuid()))
		return local, fmt.Sprintf("%s is on %s, where locks can't be trusted", dir, fsName), nil
	}
	return dir, "", nil
}

// usualDir trusts xdg for the path only: it does not look at owner, mode or symlinks, and
// without HOME it answers below "/".
func usualDir() (string, error) {
	if os.Getenv("HOME") == "" && filepath.IsAbs(os.Getenv("XDG_STATE_HOME")) {
		return filepath.Join(xdg.StateHome, "hob"), nil // needs no home
	}
	home, err := homeDir()
	if err != nil {
		return "", err
	}
	if os.Getenv("HOME") != "" {
		return filepath.Join(xdg.StateHome, "hob"), nil
	}
	return filepath.Join(home, defaultState, "hob"), nil
}

// StateHomeChanged reports whether XDG_STATE_HOME points away from its default: then programs
// that run without it see another instance.
func StateHomeChanged() bool {
	home, err := homeDir()
	set := os.Getenv("XDG_STATE_HOME")
	return err == nil && filepath.IsAbs(set) && filepath.Clean(set) != filepath.Join(home, defaultState)
}

// OpenState opens the state directory and verifies that it is a directory of ours, mode 0700
// and no symlink. With create it is made, with its parents, when missing; without, a missing one
// is fs.ErrNotExist. The caller closes the file.
func (i Instance) OpenState(create bool) (*os.File, error) {
	if create {
		if err := os.MkdirAll(filepath.Dir(i.State), 0o700); err != nil {
			return nil, fmt.Errorf("create the state directory: %w", denied(i.State, err))
		}
	}
	return openDir(i.State, create)
}

// OpenDir opens the instance directory below the open state directory, with the same checks.
func (i Instance) OpenDir(state *os.File, create bool) (*os.File, error) {
	return openDirAt(state, i.DirName(), create)
}

// OpenSub opens the directory name below the open instance directory, with the same checks.
func OpenSub(dir *os.File, name string, create bool) (*os.File, error) {
	return openDirAt(dir, name, create)
}

// Names lists what is in the open directory, in no order. It may be called again.
func Names(dir *os.File) ([]string, error) { return readNames(dir) }

// verifyDir checks an open directory: ours and closed to others.
func verifyDir(f *os.File, path string) error {
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("stat %s: %w", path, err)
	}
	if err := verifyOwner(fi, path); err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return &ModeError{Path: path, Mode: fi.Mode()}
	}
	return nil
}

func verifyOwner(fi fs.FileInfo, path string) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && int(st.Uid) != uid {
		return &OwnerError{Path: path, Owner: int(st.Uid), Want: uid,
			Hint: "run hob as its owner (sudo -H gives root a home of its own), or set HOB_STATE_DIR"}
	}
	return nil
}

// denied adds to EACCES on path whose directory it is that lets nobody in, where it is somebody else's: what root left in a
// home, most often.
func denied(path string, err error) error {
	if !errors.Is(err, syscall.EACCES) {
		return err
	}
	for {
		fi, lerr := os.Lstat(path)
		if lerr == nil {
			if owner := verifyOwner(fi, path); owner != nil {
				return fmt.Errorf("%w: %w", err, owner)
			}
			return err
		}
		up := filepath.Dir(path)
		if up == path {
			return err
		}
		path = up
	}
}

// kindErr explains ELOOP and ENOTDIR of an O_NOFOLLOW|O_DIRECTORY open by what is there.
func kindErr(path string, err error) error {
	if !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ELOOP) {
		return err
	}
	fi, lerr := os.Lstat(path)
	if lerr != nil {
		return err
	}
	return &KindError{Path: path, Kind: kindOf(fi.Mode()), Want: "a directory"}
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symlink"
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "a file"
}
