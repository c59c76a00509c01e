package lock

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// allocate reserves the record's room on the disk; a file system that can't reserve gets
// zeros. ENOSPC here is the caller's reason to start nothing.
func allocate(f *os.File) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, Size)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		_, err = f.WriteAt(make([]byte, Size), 0)
	}
	if err != nil {
		return fmt.Errorf("reserve %d bytes: %w", Size, err)
	}
	return nil
}

// Held reports whether some process has a flock on the lock file name in dir, and which (0 when
// it can't be told), without touching the lock: it reads /proc/locks, and where that hides it,
// /proc/PID/fdinfo (proc_locks(5), proc_pid_fdinfo(5)). The pid is that
// of the process that took the lock: the client that started the daemon, as a rule.
func Held(dir *os.File, name string) (bool, int, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, lockError(dir, name, err)
	}
	if f, err := os.Open("/proc/locks"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if pid, ok := flockLine(lines.Text(), st.Dev, st.Ino); ok {
				return true, pid, nil
			}
		}
	}
	pid := holder(&st)
	return pid != 0, pid, nil
}

// holder looks through the descriptors of this user's processes. It is needed in containers:
// outside the first pid namespace /proc/locks leaves out a lock whose taker, here the client
// that started the daemon, is gone. Reading fdinfo keeps the file open for that instant, so a lock
// that its holder closes just then is free a moment later.
func holder(want *unix.Stat_t) int {
	procs, _ := os.ReadDir("/proc")
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		fds, err := os.ReadDir(filepath.Join("/proc", p.Name(), "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if holds(p.Name(), fd.Name(), want) {
				return pid
			}
		}
	}
	return 0
}

func holds(pid, fd string, want *unix.Stat_t) bool {
	// Not stat(2), which asks the server of a file that is on a network's file system, and waits for it.
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, filepath.Join("/proc", pid, "fd", fd), unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
	if err != nil || st.Ino != want.Ino || unix.Mkdev(st.Dev_major, st.Dev_minor) != want.Dev {
		return false
	}
	info, err := os.ReadFile(filepath.Join("/proc", pid, "fdinfo", fd))
	return err == nil && strings.Contains(string(info), "FLOCK")
}

// flockLine reads "1: FLOCK ADVISORY WRITE 812 fe:01:1234 0 EOF" (a waiter's has "->" first).
func flockLine(line string, dev, ino uint64) (int, bool) {
	f := strings.Fields(line)
	if len(f) < 6 || f[1] != "FLOCK" {
		return 0, false
	}
	id := strings.Split(f[5], ":")
	if len(id) != 3 {
		return 0, false
	}
	major, err1 := strconv.ParseUint(id[0], 16, 32)
	minor, err2 := strconv.ParseUint(id[1], 16, 32)
	inode, err3 := strconv.ParseUint(id[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || inode != ino || unix.Mkdev(uint32(major), uint32(minor)) != dev {
		return 0, false
	}
	pid, err := strconv.Atoi(f[4])
	if err != nil || pid < 0 {
		pid = 0
	}
	return pid, true
}
