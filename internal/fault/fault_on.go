//go:build hobfault

package fault

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Enabled says whether this build was made for tests.
const Enabled = true

// Point acts when HOB_FAULT holds "name=action" (a comma separates several):
//
//	kill     SIGKILL to this process: nothing deferred runs
//	stop     SIGSTOP to this process
//	exit     exit status 7, without a word
//	panic    a Go panic
//	garbage  a line of nonsense on descriptor 3, then exit 0
//	sleep    30 s, or until killed
//
// HOB_FAULT_LOG, when set, names a file to which each place that is passed is appended.
func Point(name string) {
	trace(name)
	for _, f := range strings.Split(os.Getenv("HOB_FAULT"), ",") {
		place, action, _ := strings.Cut(f, "=")
		if place == name {
			act(name, action)
		}
	}
}

func act(name, action string) {
	switch action {
	case "kill":
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case "stop":
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
	case "exit":
		os.Exit(7)
	case "panic":
		panic("fault point " + name)
	case "garbage":
		_, _ = unix.Write(3, []byte("!! not a message \x00\xff\n"))
		os.Exit(0)
	case "sleep":
		time.Sleep(30 * time.Second)
	default:
		panic(fmt.Sprintf("HOB_FAULT: unknown action %q at %s", action, name))
	}
}

func trace(name string) {
	path := os.Getenv("HOB_FAULT_LOG")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%d %s\n", os.Getpid(), name)
}
