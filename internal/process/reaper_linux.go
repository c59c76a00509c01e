package process

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BecomeSubreaper makes orphaned descendants children of this process instead of pid 1's (PR_SET_CHILD_SUBREAPER(2const));
// they must then be reaped, see [Reaper]. It is kept over execve and not inherited. It does nothing on darwin.
func BecomeSubreaper() error {
	err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	subreaper.Store(err == nil)
	return os.NewSyscallError("prctl", err)
}

// children returns our children, by the thread that each is a child of, or on a kernel without CONFIG_PROC_CHILDREN
// by a look at all processes.
func children() []int {
	threads, _ := os.ReadDir("/proc/self/task")
	var pids []int
	for _, t := range threads {
		b, err := readProc("/proc/self/task/"+t.Name()+"/children", make([]byte, 0, 1024))
		if err != nil {
			if _, gone := os.Stat("/proc/self/task/" + t.Name()); gone != nil {
				continue // the thread ended; another has its children now
			}
			return childrenByParent()
		}
		for _, field := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func childrenByParent() []int {
	all, _ := processes()
	var pids []int
	for _, info := range all {
		if info.PPid == os.Getpid() {
			pids = append(pids, info.Pid)
		}
	}
	return pids
}
