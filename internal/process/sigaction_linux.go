package process

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// action is the kernel's struct sigaction, which is not the one of sigaction(2): the handler comes first, and what follows
// differs. The zero one is the default action.
type action [5]uintptr

// ignored is the handler SIG_IGN.
const ignored = 1

// sigaction sets what sig leads to in this process, behind the Go runtime's back, where to is not nil. It returns what it led to before.
func sigaction(sig syscall.Signal, to *action) (was action, err error) {
	const setSize = 8 // of a set of 64 signals, in bytes
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(&was)), setSize, 0, 0)
	if errno != 0 {
		return was, os.NewSyscallError("rt_sigaction", errno)
	}
	return was, nil
}

// Heed gives every signal its default action that is ignored, since whoever started this process has ignored it: its children would
// inherit that. The Go runtime does so only for those that end a program. Signals 32 to 34 are among the rest, which glibc keeps for
// itself; make and others start their children with them ignored, through posix_spawn(3).
func Heed() {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		if is, err := sigaction(sig, nil); err == nil && is[0] == ignored {
			_, _ = sigaction(sig, &action{})
		}
	}
}
