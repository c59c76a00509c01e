package instance

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func openDir(path string, create bool) (*os.File, error) {
	if create {
		if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
			return nil, fmt.Errorf("create the state directory: %w", denied(path, err))
		}
	}
	fd, err := unix.Open(path, dirFlags, 0)
	return verified(fd, path, err)
}

func openDirAt(dir *os.File, name string, create bool) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	if create {
		if err := unix.Mkdirat(int(dir.Fd()), name, 0o700); err != nil && err != unix.EEXIST {
			return nil, &fs.PathError{Op: "create", Path: path, Err: err}
		}
	}
	fd, err := unix.Openat(int(dir.Fd()), name, dirFlags, 0)
	return verified(fd, path, err)
}

func verified(fd int, path string, err error) (*os.File, error) {
	if err != nil {
		return nil, denied(path, kindErr(path, &fs.PathError{Op: "open", Path: path, Err: err}))
	}
	f := os.NewFile(uintptr(fd), path)
	if err := verifyDir(f, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// WriteFile replaces name below the open directory: a temporary file, then rename(2), so that
// whatever lies there (a torn file, a symlink, a FIFO) is replaced and a reader sees the old or
// the new bytes. A directory in the way is an error. Mode 0600.
func WriteFile(dir *os.File, name string, data []byte) error {
	path := filepath.Join(dir.Name(), name)
	tmp := tempName(name)
	fd, err := create(dir, tmp)
	if err == unix.EEXIST { // of a writer that had our pid and was killed
		_ = unix.Unlinkat(int(dir.Fd()), tmp, 0)
		fd, err = create(dir, tmp)
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	_, err = f.Write(data)
	// A full disk can show as late as close(2).
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Renameat(int(dir.Fd()), tmp, int(dir.Fd()), name)
	}
	if err != nil {
		_ = unix.Unlinkat(int(dir.Fd()), tmp, 0)
		if pe, ok := err.(*fs.PathError); ok {
			err = pe.Err
		}
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func create(dir *os.File, name string) (int, error) {
	return unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
}

// writes tells apart the temporary files of writers in one process.
var writes atomic.Uint64

// tempName gives a name that no other write has, in this process or another one that lives.
func tempName(name string) string {
	return fmt.Sprintf("%s.new-%d-%d", name, os.Getpid(), writes.Add(1))
}

// ReadFile reads at most max bytes of the regular file name below the open directory; a
// symlink or anything else is a *KindError, a larger file an error.
func ReadFile(dir *os.File, name string, max int64) ([]byte, error) {
	path := filepath.Join(dir.Name(), name)
	// O_NONBLOCK: a FIFO planted here must not hang us.
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ELOOP {
		return nil, &KindError{Path: path, Kind: "a symlink", Want: "a file"}
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, &KindError{Path: path, Kind: kindOf(fi.Mode()), Want: "a file"}
	}
	if fi.Size() > max {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d bytes, more than %d", fi.Size(), max)}
	}
	return readWhole(f, fi, max)
}

// readWhole reads a file that was fi. It is one read(2), and another one where the file has changed since: what is written by Rewrite
// twice meanwhile must not be read half as it was and half as it is. Who writes all the time does not hold a reader up.
func readWhole(f *os.File, fi fs.FileInfo, max int64) ([]byte, error) {
	for try := 1; ; try++ {
		buf := make([]byte, min(fi.Size()+1, max))
		n, err := f.ReadAt(buf, 0)
		if err != nil && err != io.EOF {
			return nil, err
		}
		now, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if now.Size() == fi.Size() && now.ModTime().Equal(fi.ModTime()) || int64(n) == max || try == 10 {
			return buf[:n], nil
		}
		fi = now
	}
}

// HasFile reports that name below the open directory is a regular file of this many bytes.
func HasFile(dir *os.File, name string, size int64) bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == size
}

// InPlace reports that the open directory is still the one that its path leads to, and closed to others.
func InPlace(dir *os.File) bool {
	var open, there unix.Stat_t
	return unix.Fstat(int(dir.Fd()), &open) == nil && unix.Lstat(dir.Name(), &there) == nil &&
		open.Dev == there.Dev && open.Ino == there.Ino && open.Mode&0o077 == 0
}

// Remove unlinks name below the open directory; a missing one is no error.
func Remove(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}

// Sweep removes the temporary files of writers that were killed. Only the holder of the lock
// may call it.
func Sweep(dir *os.File) error {
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if debris(name) {
			if err := Remove(dir, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// debris tells a temporary name of WriteFile or of a listener. A file of ours may have ".new-"
// in the middle: web.new-1 is a good name for a service.
func debris(name string) bool {
	i := strings.LastIndex(name, ".new-")
	if i < 0 {
		return false
	}
	pid, nonce, _ := strings.Cut(name[i+len(".new-"):], "-")
	_, err := strconv.Atoi(pid)
	return err == nil && nonce != "" && strings.Trim(nonce, "0123456789abcdef") == ""
}

// readNames lists a directory through a descriptor of its own, so that it can be called again.
func readNames(dir *os.File) ([]string, error) {
	fd, err := unix.Openat(int(dir.Fd()), ".", dirFlags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: dir.Name(), Err: err}
	}
	f := os.NewFile(uintptr(fd), dir.Name())
	defer f.Close()
	return f.Readdirnames(-1)
}

// Rename gives the file name below the open directory another name there, replacing what has it.
func Rename(dir *os.File, name, to string) error {
	if err := unix.Renameat(int(dir.Fd()), name, int(dir.Fd()), to); err != nil {
		return &fs.PathError{Op: "rename", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}
