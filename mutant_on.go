//go:build mutant

package hob

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
)

// mutated is what a client does wrong, for once, that found nobody: true has it look again instead of taking the lock.
func (d *dialer) mutated() bool {
	switch {
	case fault.Mutant("a client removes a socket where nobody answers"):
		_ = os.Remove(d.inst.Path(instance.SocketName))
	case fault.Mutant("a client believes the pid file"):
		text, _ := os.ReadFile(d.inst.Path(instance.PidName))
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
	case fault.Mutant("a client locks to look"):
		fd, err := unix.Open(d.inst.LockPath(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		defer unix.Close(fd)
		return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) != nil
	}
	return false
}
