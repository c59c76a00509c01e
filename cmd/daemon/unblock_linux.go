package daemon

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unblock makes sure that no signal is blocked, and that none is ignored which the Go runtime
// leaves alone. A mask is inherited from whoever started the client, through every fork and exec,
// and the runtime gives it on to children; it can only be shed by an exec from a thread whose mask
// is empty (sigprocmask(2), execve(2)). The descriptors that were handed over are not yet
// close-on-exec, so they go through it too.
func unblock() {
	heed()
	var mask, none unix.Sigset_t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.PthreadSigmask(unix.SIG_SETMASK, nil, &mask) != nil || mask == none {
		return
	}
	if unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil) != nil {
		return
	}
	_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// heed gives every signal its default action that is ignored, since whoever started the client has ignored it: every service would inherit that. The Go runtime
// does so only for those that end a program. Signals 32 to 34 are among the rest, which glibc keeps for itself; make and others start their children
// with them ignored, through posix_spawn(3).
func heed() {
	const ignored = 1 // SIG_IGN
	for sig := uintptr(1); sig <= 64; sig++ {
		var is, byDefault [4]uintptr // struct kernel_sigaction: handler, flags, restorer, mask
		size := unsafe.Sizeof(unix.Sigset_t{}.Val[0])
		_, _, err := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&is)), size, 0, 0)
		if err == 0 && is[0] == ignored {
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, size, 0, 0)
		}
	}
}
