package sentry

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxPath = 103

func newSocket() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func shortPath(path string) (short string, end func(), err error) {
	if len(path) > maxPath {
		return "", nil, fmt.Errorf("the path has %d bytes, and a socket's can have %d", len(path), maxPath)
	}
	return path, func() {}, nil
}

func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return -1, os.NewSyscallError("getsockopt", err)
	}
	return int(cred.Uid), nil
}

// ptyNumber does without: fstat(2) tells the masters apart here.
func ptyNumber(int) int { return 0 }

// nudge connects, so that accept(2) returns.
func nudge(door int) error {
	sa, err := unix.Getsockname(door)
	if err != nil {
		return err
	}
	fd, err := newSocket()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, sa)
}
