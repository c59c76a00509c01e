package process

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readOpenFiles looks at /proc/PID/fd; nothing is seen of another user's process. kept: what its next execve(2) would close is left out.
func readOpenFiles(pid int, kept bool) openFiles {
	var found openFiles
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return found
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return found
	}
	conn, err := dir.SyscallConn()
	if err != nil {
		return found
	}
	_ = conn.Control(func(fd uintptr) {
		for _, name := range names {
			if id, ok := found.look(int(fd), name); ok && !(kept && closesOnExec(pid, name)) {
				found.ids = append(found.ids, id)
			}
		}
	})
	return found
}

// closesOnExec reads proc_pid_fdinfo(5). A descriptor that is closed by now counts as one that was to be.
func closesOnExec(pid int, name string) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/fdinfo/" + name)
	_, flags, _ := strings.Cut(string(text), "flags:")
	flags, _, _ = strings.Cut(strings.TrimSpace(flags), "\n")
	n, perr := strconv.ParseUint(flags, 8, 64)
	return err != nil || perr == nil && n&unix.O_CLOEXEC != 0
}

// look gives the file of one descriptor, if it says where a process belongs. Most are sockets, pipes and devices, which their link tells.
func (o *openFiles) look(dir int, name string) (id FileID, ok bool) {
	var buf [4096]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil || n == 0 || buf[0] != '/' {
		return id, false
	}
	link := string(buf[:n])
	if link == "/dev/null" {
		return id, false
	}
	if isInstanceLock(link) {
		o.instanceLock = true
	}
	// Cached attributes will do, and asking a network file system for fresh ones could take for ever.
	var st unix.Statx_t
	if err := unix.Statx(dir, name, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &st); err != nil {
		return id, false
	}
	if st.Mode&unix.S_IFMT == unix.S_IFIFO && !writable(dir, name) {
		return id, false // a reader of a tree's output is not of the tree
	}
	return FileID{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}, true
}

// writable reads the mode of the link itself, which shows how the descriptor was opened (proc_pid_fd(5)).
func writable(dir int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IWUSR != 0
}
