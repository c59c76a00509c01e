package process

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Description is what a process itself still tells of how it was started.
type Description struct {
	Args      []string // may have been overwritten by the program (setproctitle)
	Dir       string   // where it is now
	Env       []string // as it was at its exec
	StartedAt time.Time
}

// Describe reads how a running process of ours was started. What it executed since, by exec
// without fork, is what is described.
func Describe(id ID) (Description, error) {
	dir := fmt.Sprintf("/proc/%d/", id.Pid)
	args, err := os.ReadFile(dir + "cmdline")
	if err != nil {
		return Description{}, fmt.Errorf("describe pid %d: %w", id.Pid, err)
	}
	cwd, err := os.Readlink(dir + "cwd")
	if err != nil {
		return Description{}, fmt.Errorf("describe pid %d: %w", id.Pid, err)
	}
	env, err := os.ReadFile(dir + "environ")
	if err != nil {
		return Description{}, fmt.Errorf("describe pid %d: %w", id.Pid, err)
	}
	// The pid may have got another owner while its files were read.
	if !id.Alive() {
		return Description{}, fmt.Errorf("describe pid %d: %w", id.Pid, os.ErrProcessDone)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return Description{}, os.NewSyscallError("clock_gettime", err)
	}
	age := time.Duration(now.Nano()) - time.Duration(id.Start)*tick
	return Description{Args: zeroEnded(args), Dir: strings.TrimSuffix(cwd, " (deleted)"), Env: zeroEnded(env),
		StartedAt: time.Now().Add(-age).UTC()}, nil
}

func zeroEnded(b []byte) []string {
	text := strings.TrimRight(string(b), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}
