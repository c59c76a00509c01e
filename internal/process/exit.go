package process

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit tells how a process ended. The zero value is an end of which nothing is known, which happens to adopted
// processes that are not our children where the kernel does not tell.
type Exit struct {
	Code   int            // 0…255; 0 when killed by a signal
	Signal syscall.Signal // 0: it exited by itself
	Known  bool
}

// Exit tells how a process ended that nobody has reaped yet; the zero Exit when it runs, is reaped, or its parent's
// system does not tell. It is the only way to the exit of what ended before it could be adopted.
func (id ID) Exit() Exit { return id.zombieExit() }

// String returns "exit 1", "killed by SIGKILL" or "exit unknown".
func (e Exit) String() string {
	switch {
	case !e.Known:
		return "exit unknown"
	case e.Signal == 0:
		return "exit " + strconv.Itoa(e.Code)
	}
	return "killed by " + signalName(e.Signal)
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(sig))
}

// exitOf translates a raw wait status.
func exitOf(status syscall.WaitStatus) Exit {
	if status.Signaled() {
		return Exit{Signal: status.Signal(), Known: true}
	}
	return Exit{Code: status.ExitStatus(), Known: true}
}
