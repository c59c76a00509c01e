package instance

import (
	"bytes"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openRoot asks the kernel for the path of the open directory, F_GETPATH of fcntl(2), which
// also folds the letter case on a case-insensitive volume.
func openRoot(dir string) (Root, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Root{}, &fs.PathError{Op: "open project", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Root{}, &fs.PathError{Op: "stat project", Path: dir, Err: err}
	}
	var buf [unix.PathMax]byte
	//lint:ignore SA1019 x/sys has no other way to give fcntl(2) a buffer
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETPATH, uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return Root{}, &fs.PathError{Op: "name project", Path: dir, Err: errno}
	}
	n := bytes.IndexByte(buf[:], 0)
	return Root{Path: string(buf[:n]), Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

func fileID(f *os.File) (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return uint64(st.Dev), st.Ino, nil
}
