package ipc

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptNow never blocks: package net made fd non-blocking. There is no
// accept4(2), so the fork lock keeps the descriptor out of a child.
func acceptNow(fd int) (int, error) {
	for {
		nfd, err := acceptCloexec(fd)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return -1, err
		}
		if err := unix.SetNonblock(nfd, true); err != nil {
			_ = unix.Close(nfd)
			return -1, err
		}
		return nfd, nil
	}
}

func acceptCloexec(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	nfd, _, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(nfd)
	}
	return nfd, err
}

// setSocketMode has nothing to do: fchmod(2) refuses sockets here. The mode is
// set on the file, under its temporary name, in a directory that is 0700.
func setSocketMode(int) error { return nil }
