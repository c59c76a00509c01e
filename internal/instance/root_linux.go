package instance

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openRoot reads the name of an O_PATH descriptor back: see proc_pid_fd(5).
func openRoot(dir string) (Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Root{}, &fs.PathError{Op: "open project", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Root{}, &fs.PathError{Op: "stat project", Path: dir, Err: err}
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return Root{}, &fs.PathError{Op: "name project", Path: dir, Err: err}
	}
	if st.Nlink == 0 || !strings.HasPrefix(path, "/") {
		return Root{}, &fs.PathError{Op: "open project", Path: dir, Err: fmt.Errorf("the directory was deleted")}
	}
	return Root{Path: path, Dev: st.Dev, Ino: st.Ino}, nil
}

func fileID(f *os.File) (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Dev, st.Ino, nil
}
