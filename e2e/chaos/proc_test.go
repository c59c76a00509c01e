//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// proc is a process as /proc shows it: proc_pid_stat(5).
type proc struct {
	pid, ppid int
	start     uint64 // clock ticks since boot
	gone      bool   // a zombie, or on its way to be one: PF_EXITING is set before any file is closed
}

const exiting = 0x4

func statOf(pid int) (p proc, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, false
	}
	_, rest, found := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if !found || len(f) < 20 {
		return p, false
	}
	p.pid = pid
	p.ppid, _ = strconv.Atoi(f[1])
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	p.start, _ = strconv.ParseUint(f[19], 10, 64)
	p.gone = f[0] == "Z" || f[0] == "X" || flags&exiting != 0
	return p, true
}

// lives reports that the very process runs.
func (p proc) lives() bool {
	now, ok := statOf(p.pid)
	return ok && now.start == p.start && !now.gone
}

// signal signals the very process; one that is gone is no error.
func (p proc) signal(sig unix.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if p.lives() {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

func allPids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// variable gives an environment variable of a process; "" when it has none or no memory any more.
func variable(pid int, name string) string {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for _, kv := range bytes.Split(env, []byte{0}) {
		if v, ok := bytes.CutPrefix(kv, []byte(name+"=")); ok {
			return string(v)
		}
	}
	return ""
}

func cmdline(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Split(string(text), "\x00")
}

// written gives the paths of what a process has open for reading and writing, as the lock of an instance is by those who have it:
// who only reads the record in it has it open for reading.
func written(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, _ := os.ReadDir(dir)
	var paths []string
	for _, e := range entries {
		to, err := os.Readlink(dir + e.Name())
		if err != nil || !strings.HasPrefix(to, "/") {
			continue
		}
		info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, e.Name()))
		_, rest, _ := strings.Cut(string(info), "flags:")
		first, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
		if flags, err := strconv.ParseUint(first, 8, 64); err == nil && flags&unix.O_ACCMODE == unix.O_RDWR {
			paths = append(paths, to)
		}
	}
	return paths
}
