package activation

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is what struct sockaddr_un has room for, unix(7), less the NUL.
const maxPath = 107

// connectTime is for a connect to a Unix socket, which the kernel answers at once: EAGAIN when the queue is full.
const connectTime = time.Second

func newSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

func accept(fd int) (int, error) {
	for {
		n, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return -1, ErrNone
		default:
			return -1, os.NewSyscallError("accept4", err)
		}
		if !readable(fd) {
			return -1, ErrNone
		}
	}
}
