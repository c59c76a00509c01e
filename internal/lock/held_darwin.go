package lock

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate writes zeros: the record's room on the disk.
func allocate(f *os.File) error {
	_, err := f.WriteAt(make([]byte, Size), 0)
	return err
}

// Held can't look without locking here: it takes the lock for an instant and closes it again,
// and a starter that meets that instant tries again.
func Held(dir *os.File, name string) (bool, int, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, lockError(dir, name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := flock(f); err == ErrHeld {
		return true, 0, nil
	} else if err != nil {
		return false, 0, lockError(dir, name, err)
	}
	return false, 0, nil
}
