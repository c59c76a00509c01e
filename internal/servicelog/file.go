package servicelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openDir opens a directory below parent (nil: an ordinary path), never through a
// symbolic link at its end.
func openDir(parent *os.File, name string) (*os.File, error) {
	at, path := unix.AT_FDCWD, name
	if parent != nil {
		at, path = int(parent.Fd()), filepath.Join(parent.Name(), name)
	}
	fd, err := openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", path, explain(at, name, err))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openRegular opens the regular file name below dir, and makes it (0600) when flags has
// O_CREAT. It opens nothing else: what is not a regular file is an error that says what it is.
func openRegular(dir *os.File, name string, flags int) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	path := filepath.Join(dir.Name(), name)
	at := int(dir.Fd())
	// O_NONBLOCK: opening a FIFO that somebody put there must not hang.
	fd, err := openat(at, name, flags|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, st, fmt.Errorf("open log file %s: %w", path, explain(at, name, err))
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, st, fmt.Errorf("stat log file %s: %w", path, err)
	}
	if uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, st, fmt.Errorf("open log file %s: it is %s, not a regular file", path, kind(uint32(st.Mode)))
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, st, fmt.Errorf("open log file %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), st, nil
}

func openat(at int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// explain turns the error of a refused open into what stands in its place: O_NOFOLLOW
// says ELOOP or ENOTDIR for a symbolic link, a socket says ENXIO (open(2)).
func explain(at int, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	var st unix.Stat_t
	if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || uint32(st.Mode)&unix.S_IFMT == unix.S_IFREG {
		return err
	}
	return fmt.Errorf("it is %s: %w", kind(uint32(st.Mode)), err)
}

func kind(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a regular file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFBLK, unix.S_IFCHR:
		return "a device"
	}
	return "of an unknown kind"
}
