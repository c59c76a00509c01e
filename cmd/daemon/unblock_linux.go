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

// heed gives signals 32 to 34 their default action. glibc keeps them for itself, so the runtime
// does not touch them; but make and others start their children with them ignored, through
// posix_spawn(3), and that would be inherited by every service.
func heed() {
	var byDefault [4]uintptr // struct kernel_sigaction: SIG_DFL, no flags, no restorer, empty mask
	for sig := uintptr(32); sig <= 34; sig++ {
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, unsafe.Sizeof(unix.Sigset_t{}.Val[0]), 0, 0)
	}
}
