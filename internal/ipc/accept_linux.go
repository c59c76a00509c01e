package ipc

import "golang.org/x/sys/unix"

// acceptNow never blocks: package net made fd non-blocking. A connection that
// was aborted in the backlog or a signal is no reason to stop emptying it.
func acceptNow(fd int) (int, error) {
	for {
		nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		return nfd, err
	}
}

// setSocketMode works before bind(2) only.
func setSocketMode(fd int) error { return unix.Fchmod(fd, 0o600) }
