package ipc

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes the temporary sockets that Listen(dir, name) leaves behind when
// it is killed before Publish. Only the holder of the instance's lock may call
// it, before its own Listen. It leaves alone what is not a socket, and goes on
// past what it cannot remove; the error names each.
func Sweep(dir *os.File, name string) error {
	return withFd(dir, func(dirfd int) error {
		names, err := list(dirfd)
		if err != nil {
			return pathError("sweep", dir, "", err)
		}
		var errs []error
		for _, n := range names {
			if !strings.HasPrefix(n, tempPrefix(name)) {
				continue
			}
			if _, err := statSocket(dirfd, n); err != nil {
				continue
			}
			if err := unix.Unlinkat(dirfd, n, 0); err != nil && err != unix.ENOENT {
				errs = append(errs, pathError("sweep", dir, n, err))
			}
		}
		return errors.Join(errs...)
	})
}

// list opens the directory anew: reading moves the offset of an open directory,
// and dirfd is shared; it may also be O_PATH.
func list(dirfd int) ([]string, error) {
	fd, err := unix.Openat(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), ".")
	defer d.Close()
	return d.Readdirnames(-1)
}
