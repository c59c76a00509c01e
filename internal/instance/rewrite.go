package instance

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OldSuffix is what Rewrite adds to the name of a file for the one that it was before.
const OldSuffix = ".old"

// Rewrite is WriteFile for a file that is written often, by one writer at a time: it keeps what it replaces, as name + OldSuffix, and writes that one
// the next time. To make a file and to free another for each write costs ext4 up to a millisecond where many were removed in the last minutes; see
// docs/adr/0021. Whoever reads while it is written twice may see the second one half done, and reads again. Where two names can't be exchanged, nothing
// is kept.
func Rewrite(dir *os.File, name string, data []byte) error {
	fd, err := openOld(dir, name+OldSuffix)
	if err != nil { // whatever it is
		return WriteFile(dir, name, data)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr // a full disk can show as late as here
	}
	if err == nil && exchange(int(dir.Fd()), name+OldSuffix, name) != nil { // there is none yet, or the file system can't
		err = unix.Renameat(int(dir.Fd()), name+OldSuffix, int(dir.Fd()), name)
	}
	if err != nil {
		if pe, ok := err.(*fs.PathError); ok {
			err = pe.Err
		}
		return &fs.PathError{Op: "write", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}

// openOld empties a file that nobody else has a name for, or makes it. Emptied, and not written over: then ext4 writes the bytes to the disk before the
// exchange, auto_da_alloc of ext4(5), as it does for a rename.
func openOld(dir *os.File, name string) (int, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (st.Mode&^0o777 != unix.S_IFREG || st.Mode&0o077 != 0 || st.Nlink != 1) {
		err = unix.EINVAL
	}
	if err == nil && st.Size > 0 {
		err = unix.Ftruncate(fd, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
