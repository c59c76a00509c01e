package sentry

import "golang.org/x/sys/unix"

const (
	sendFlags = unix.MSG_NOSIGNAL // the end of the other side is an error of the call and no signal
	recvFlags = unix.MSG_CMSG_CLOEXEC
)

// pair gives a connected pair of sockets, close-on-exec.
func pair() (near, far int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return fds[0], fds[1], err
}
