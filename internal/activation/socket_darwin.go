package activation

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/sockets"
)

const maxPath = 103

const connectTime = time.Second

func newSocket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func accept(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, _, err := unix.Accept(fd)
	if err != nil {
		return -1, os.NewSyscallError("accept", err)
	}
	unix.CloseOnExec(n)
	return n, unix.SetNonblock(n, true)
}

func (s *Socket) connections() (connections, error) { return connections{}, errors.ErrUnsupported }

// whoListens finds nobody: darwin tells it to lsof(8) only.
func whoListens(string) []sockets.Listener { return nil }
