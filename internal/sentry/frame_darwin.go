package sentry

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Neither flag is to be had here: pair and take do without.
const (
	sendFlags = 0
	recvFlags = 0
)

// pair gives a connected pair of sockets, close-on-exec, that send no SIGPIPE.
func pair() (near, far int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, -1, err
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	_ = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_NOSIGPIPE, 1)
	return fds[0], fds[1], nil
}
