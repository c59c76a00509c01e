package process

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// readOpenFiles looks at /proc/PID/fd; nothing is seen of another user's process.
func readOpenFiles(pid int) openFiles {
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
			found.add(int(fd), name)
		}
	})
	return found
}

// add looks at one descriptor. Most are sockets, pipes and devices, which their link tells.
func (o *openFiles) add(dir int, name string) {
	var buf [4096]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil || n == 0 || buf[0] != '/' {
		return
	}
	link := string(buf[:n])
	if link == "/dev/null" {
		return
	}
	if isInstanceLock(link) {
		o.instanceLock = true
	}
	// Cached attributes will do, and asking a network file system for fresh ones could take for ever.
	var st unix.Statx_t
	if err := unix.Statx(dir, name, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &st); err != nil {
		return
	}
	if st.Mode&unix.S_IFMT == unix.S_IFIFO && !writable(dir, name) {
		return // a reader of a tree's output is not of the tree
	}
	o.ids = append(o.ids, FileID{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino})
}

// writable reads the mode of the link itself, which shows how the descriptor was opened (proc_pid_fd(5)).
func writable(dir int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IWUSR != 0
}
