package process

import "syscall"

// Exec is execve(2) of path in this process. It returns only when that could not be done, and then nothing is different from before.
// No signal is lost that is to end the process (on Linux): with [syscall.Exec] alone a thread of the Go runtime may have taken it off
// the queue already, and the exec ends that thread before it has done anything about it. The caller has let go of those it had caught,
// with signal.Stop.
func Exec(path string, argv, env []string) error {
	undo := dieAtOnce()
	defer undo()
	return syscall.Exec(path, argv, env)
}
