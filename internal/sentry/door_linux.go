package sentry

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxPath is what struct sockaddr_un has room for, unix(7), less the NUL.
const maxPath = 107

func newSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// shortPath gives a path of the same file that a socket's address has room for. It is good until end is called.
func shortPath(path string) (short string, end func(), err error) {
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path), func() { dir.Close() }, nil
}

func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, os.NewSyscallError("getsockopt", err)
	}
	return int(cred.Uid), nil
}

// ptyNumber is that of a terminal's master, ioctl_tty(2); 0 for the first, and for what is none.
func ptyNumber(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return 0
	}
	return n
}

// nudge is not needed here: shutdown(2) ends accept(2).
func nudge(int) error { return nil }
