package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is USER_HZ, 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// kernelThread is PF_KTHREAD of the kernel's sched.h.
const kernelThread = 0x00200000

var pageSize = int64(os.Getpagesize())

func readBootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// PidNamespace returns the number of the pid namespace this process lives in: pids mean the same in two processes
// only where it is equal. It is 0 on darwin, which has one.
func PidNamespace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: "/proc/self/ns/pid", Err: err}
	}
	return st.Ino, nil
}

func stat(pid int) (Info, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	b, err := readProc(path, make([]byte, 0, 1024))
	if err != nil {
		return Info{}, err
	}
	info, err := parseStat(b)
	if err != nil {
		return Info{}, fmt.Errorf("parse %s: %w", path, err)
	}
	return info, nil
}

// readProc appends the file to buf. It avoids os.ReadFile, which costs three more system calls a file: a look at
// the table reads hundreds. A process that ends during open(2), or between it and read(2), gives ESRCH, which means the
// same as ENOENT.
func readProc(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err == unix.ESRCH {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ESRCH:
			return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

var (
	errStatFormat = errors.New("not the format of proc_pid_stat(5)")
	errThread     = fmt.Errorf("a thread, not a process: %w", fs.ErrNotExist)
)

// parseStat reads one line of proc_pid_stat(5). The command stands in parentheses and may itself hold
// parentheses, spaces and newlines, so the fields begin after the last one.
func parseStat(b []byte) (Info, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return Info{}, errStatFormat
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b[:open])))
	if err != nil {
		return Info{}, errStatFormat
	}
	// f[n-3] is field n of the manual page.
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 22 || len(f[0]) != 1 {
		return Info{}, errStatFormat
	}
	bad := false
	num := func(field int) int64 {
		n, err := strconv.ParseInt(f[field-3], 10, 64)
		bad = bad || err != nil
		return n
	}
	info := Info{
		Pid:     pid,
		State:   f[0][0],
		Command: string(b[open+1 : end]),
		PPid:    int(num(4)),
		Group:   int(num(5)),
		Session: int(num(6)),
		CPU:     time.Duration(num(14)+num(15)) * tick,
		Threads: int(num(20)),
		RSS:     num(24) * pageSize,
		kernel:  num(9)&kernelThread != 0,
	}
	info.Start, err = strconv.ParseUint(f[22-3], 10, 64)
	if len(f) > 52-3 {
		info.ExitCode = int(num(52))
	}
	// /proc/TID leads to threads too, though it does not list them. They have no signal to send at their exit.
	thread := len(f) > 38-3 && num(38) == -1
	if bad || err != nil {
		return Info{}, errStatFormat
	}
	if thread {
		return Info{}, errThread
	}
	return info, nil
}

// chaseRounds bounds how often a look at the table goes after processes born during it.
const chaseRounds = 16

// processes returns every process that /proc shows. The names come before the first look at one, so a process that
// forks and exits within that time would pass it on from child to child, for ever unseen. So it looks at the pids given out
// meanwhile too, until there are none: a few of them, read within microseconds (TestHoppingTreeIsEnded).
func processes() ([]Info, error) {
	last := lastPid()
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	seen := make(map[int]bool, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			seen[pid] = true
			pids = append(pids, pid)
		}
	}
	all, err := statAll(pids)
	if err != nil {
		return nil, err
	}
	for range chaseRounds {
		now := lastPid()
		if now <= last { // none new, or the numbers began anew: then this look may miss one
			break
		}
		for pid := last + 1; pid <= now; pid++ {
			if seen[pid] {
				continue
			}
			info, err := statIfThere(pid)
			if err != nil {
				return nil, err
			}
			if info.Pid != 0 {
				all = append(all, info)
			}
		}
		last = now
	}
	return all, nil
}

// statAll looks at each of these.
func statAll(pids []int) ([]Info, error) {
	all, errs := make([]Info, len(pids)), make([]error, len(pids))
	readAll(len(pids), func(i int) { all[i], errs[i] = statIfThere(pids[i]) })
	return slices.DeleteFunc(all, func(info Info) bool { return info.Pid == 0 }), errors.Join(errs...)
}

// statIfThere gives the zero Info for one that has ended, is a thread, or is hidden (hidepid), and not ours then.
func statIfThere(pid int) (Info, error) {
	info, err := Stat(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return Info{}, nil
	}
	return info, err
}

// lastPid returns the number given out last in our pid namespace (proc_loadavg(5)), 0 if unknown.
func lastPid() int {
	b, err := readProc("/proc/loadavg", make([]byte, 0, 128))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(string(bytes.TrimSpace(b[bytes.LastIndexByte(b, ' ')+1:])))
	return pid
}

// environ returns the environment that a process was given at exec, each entry ended by a NUL. It is empty for a
// process of another user, and for one that wrote over it (setproctitle).
func environ(pid int) []byte {
	b, err := readProc("/proc/"+strconv.Itoa(pid)+"/environ", make([]byte, 0, 8192))
	if err != nil {
		return nil
	}
	return b
}
