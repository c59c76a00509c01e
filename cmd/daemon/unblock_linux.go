package daemon

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// unblock makes sure that no signal is blocked, and that none is ignored which the Go runtime
// leaves alone. A mask is inherited from whoever started the client, through every fork and exec,
// and the runtime gives it on to children; it can only be shed by an exec from a thread whose mask
// is empty (sigprocmask(2), execve(2)). The descriptors that were handed over are not yet
// close-on-exec, so they go through it too.
func unblock() {
	process.Heed()
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
