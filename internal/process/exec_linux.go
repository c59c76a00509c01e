package process

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deadly are the signals with which the Go runtime ends a program that has not caught them.
var deadly = []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGTERM}

// dieAtOnce has the kernel itself end this process at a deadly signal from now on: with the default action it does so when
// the signal is sent, whatever the threads are doing. What a thread has taken before has had its effect when this returns.
func dieAtOnce() (undo func()) {
	before := map[syscall.Signal]action{}
	for _, sig := range deadly {
		if was, err := sigaction(sig, &action{}); err == nil {
			before[sig] = was
		}
	}
	threadsHandled()
	return func() {
		for sig, was := range before {
			_, _ = sigaction(sig, &was)
		}
	}
}

// handledPatience bounds the wait for a thread that does not come back from the kernel, as from a disk that hangs: an exec that never comes
// is worse than what that thread might have taken.
const handledPatience = time.Second

// threadsHandled returns when every thread of this process has been outside of all signal handlers at some moment since the call. Each gets
// a SIGURG, which the Go runtime sends about anyway: in its handlers all signals are blocked, so a thread that has taken this one is in no
// earlier one.
func threadsHandled() {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	var threads []string
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err == nil && unix.Tgkill(os.Getpid(), tid, unix.SIGURG) == nil {
			threads = append(threads, e.Name())
		}
	}
	deadline := time.Now().Add(handledPatience)
	for _, tid := range threads {
		for asleep := 0; isPending(tid, unix.SIGURG, &asleep) && time.Now().Before(deadline); {
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// isPending reports whether sig waits for the thread of this process, and may come through: State, SigPnd and SigBlk, proc_pid_status(5). A thread
// that sleeps with sig blocked is in no handler, for none sleeps, but one that never takes a signal, as the race detector's own. Only
// a second look is sure that both were so at once.
func isPending(tid string, sig syscall.Signal, asleep *int) bool {
	text, err := readProc("/proc/self/task/"+tid+"/status", make([]byte, 0, 2048))
	if err != nil {
		return false // it has ended
	}
	bit := uint64(1) << (sig - 1)
	if statusSet(text, "SigPnd")&bit == 0 {
		return false
	}
	if bytes.Contains(text, []byte("\nState:\tS")) && statusSet(text, "SigBlk")&bit != 0 {
		*asleep++
	}
	return *asleep < 2
}

// statusSet is a set of signals in a status file.
func statusSet(text []byte, name string) uint64 {
	_, rest, _ := bytes.Cut(text, []byte("\n"+name+":\t"))
	hex, _, _ := bytes.Cut(rest, []byte("\n"))
	set, _ := strconv.ParseUint(string(hex), 16, 64)
	return set
}
