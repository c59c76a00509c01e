package ipc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// withFd calls f with dir's descriptor, which stays open meanwhile even if
// somebody closes dir. Unlike os.File.Fd it changes no mode of the file.
func withFd(dir *os.File, f func(fd int) error) error {
	rc, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// address is what to bind or connect to for name in the directory open at fd:
// the plain path where it fits, else one that names the descriptor.
//
// A relative path is never used plain where there is a choice: the process may
// have changed directory since dir was opened, and "@x" would be abstract.
func address(dir *os.File, fd int, name string) (string, error) {
	path := filepath.Join(dir.Name(), name)
	if filepath.IsAbs(path) && len(path) <= maxPath {
		return path, nil
	}
	return addressByFd(fd, path, name)
}

// bindAddress is what to bind to: through the descriptor wherever that can be done. A path may lead elsewhere by now, and bind(2)
// would leave a socket there (TestSocketIsBornInTheOpenDirectory).
func bindAddress(dir *os.File, fd int, name string) (string, error) {
	if addr, err := addressByFd(fd, filepath.Join(dir.Name(), name), name); err == nil {
		return addr, nil
	}
	return address(dir, fd, name)
}

// errTooLong says by how much. It is an ENAMETOOLONG, so that nobody takes it
// for a socket that is absent.
func errTooLong(path, why string) error {
	return fmt.Errorf("%w: %d bytes, a socket address holds %d%s", unix.ENAMETOOLONG, len(path), maxPath, why)
}

func pathError(op string, dir *os.File, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(dir.Name(), name), Err: bare(err)}
}

// bare takes the errno out of what package net wraps round it: its text
// repeats the address, which here may be a temporary name.
func bare(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok && !errors.Is(err, unix.ENAMETOOLONG) {
		return errno
	}
	return err
}

// inode is the identity of a socket's file.
type inode struct{ dev, ino uint64 }

// statSocket does not follow symlinks. It fails with ENOTSOCK, ErrSymlink or EISDIR
// where name
// is something else.
func statSocket(dirfd int, name string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return inode{}, err
	}
	id := inode{uint64(st.Dev), uint64(st.Ino)}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFSOCK:
		return id, nil
	case unix.S_IFLNK:
		return id, ErrSymlink
	case unix.S_IFDIR:
		return id, unix.EISDIR
	}
	return id, unix.ENOTSOCK
}
