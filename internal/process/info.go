package process

import "time"

// Info is what the kernel says about a process at one instant. Processes change: two calls may differ.
type Info struct {
	Pid, PPid, Group, Session int
	State                     byte          // one letter as in proc_pid_stat(5): R S D T Z X …
	Command                   string        // the short name (comm), not the arguments; may hold any byte
	Threads                   int           // 0 where the kernel does not tell (darwin)
	Start                     uint64        // in the kernel's own unit: ticks since boot (Linux), µs since 1970 (darwin)
	CPU                       time.Duration // user and system, without children; 0 on darwin
	RSS                       int64         // bytes; 0 on darwin
	ExitCode                  int           // raw wait status, meaningful for a zombie of our own uid only

	kernel bool // a thread of the kernel: it has no environment and no descriptors
}

// Dead reports whether the process has ended and only waits to be reaped. A process whose first thread ended
// while others go on is shown in state Z too, and is not dead.
func (i Info) Dead() bool {
	return i.State == 'X' || i.State == 'x' || i.State == 'Z' && i.Threads <= 1
}

// Stat looks at one process. The error wraps os.ErrNotExist when there is none.
func Stat(pid int) (Info, error) { return stat(pid) }

// Usage adds up the processor time and resident memory (bytes) of those pids that exist; the others count nothing.
// Memory shared between them is counted once for each.
func Usage(pids []int) (cpu time.Duration, rss int64) {
	for _, pid := range pids {
		info, err := Stat(pid)
		if err != nil {
			continue
		}
		cpu += info.CPU
		rss += info.RSS
	}
	return cpu, rss
}
