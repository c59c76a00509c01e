package process

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// leaderIsKept: a leader that is our child stays a zombie until Release.
const leaderIsKept = true

// handle is a pidfd in the runtime's poller: a wait for an exit parks a goroutine and holds no thread.
type handle struct {
	pid  int
	file *os.File
	conn syscall.RawConn
}

// forkExec starts a process.
func forkExec(path string, args []string, attr *syscall.ProcAttr) (int, *handle, error) {
	fd := -1
	attr.Sys.PidFD = &fd
	pid, err := syscall.ForkExec(path, args, attr)
	if err != nil {
		return 0, nil, err
	}
	if fd == -1 { // a kernel or a sandbox without CLONE_PIDFD; an unreaped child keeps its pid
		if fd, err = unix.PidfdOpen(pid, 0); err != nil {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
			return 0, nil, os.NewSyscallError("pidfd_open", err)
		}
	}
	h, err := newHandle(pid, fd)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return 0, nil, err
	}
	return pid, h, nil
}

// openHandle opens whatever process has the pid; the caller checks the identity afterwards, not before.
func openHandle(pid int) (*handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL && pid <= 0 {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return newHandle(pid, fd)
}

func newHandle(pid, fd int) (*handle, error) {
	// os.NewFile gives a descriptor to the poller only if it does not block.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "pidfd:"+strconv.Itoa(pid))
	conn, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // an error where the poller could not take it, epoll_ctl(2): the end would never be seen
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watch pid %d: %w", pid, err)
	}
	return &handle{pid: pid, file: file, conn: conn}, nil
}

// wait parks until the process has exited, all its threads, and reports false if the handle was closed before.
func (h *handle) wait() bool {
	return h.conn.Read(readable) == nil
}

// exited tells whether the process has exited, without waiting; false when the handle is closed.
func (h *handle) exited() (yes bool) {
	_ = h.conn.Control(func(fd uintptr) { yes = readable(fd) })
	return yes
}

func readable(fd uintptr) bool {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(set, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

func (h *handle) signal(sig syscall.Signal) error { return h.send(sig, 0) }

func (h *handle) send(sig syscall.Signal, flags int) error {
	err := h.control(func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, flags) })
	if err == unix.ESRCH || err == os.ErrClosed {
		return os.ErrProcessDone
	}
	return err
}

func (h *handle) control(f func(fd int) error) (err error) {
	if h.conn.Control(func(fd uintptr) { err = f(int(fd)) }) != nil {
		return os.ErrClosed // its one error, without a name
	}
	return err
}

// signalGroup sends through the pidfd too (Linux 6.9): that reaches the group which this very process led, even if
// it has been reaped and its number used again. Before, kill(2) will do while the leader is there to keep the number.
func (h *handle) signalGroup(id ID, sig syscall.Signal) error {
	err := h.send(sig, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	if err != unix.EINVAL {
		return err
	}
	if _, err := id.look(); err != nil {
		return os.ErrProcessDone
	}
	if err := unix.Kill(-id.Pid, sig); err != unix.ESRCH {
		return err
	}
	return os.ErrProcessDone
}

// groupPinned reports whether the number of the group still means the group that this process leads or led, and
// has meant nothing else since the handle was opened: the leader is not reaped, or the group never was empty.
func (h *handle) groupPinned(id ID) bool {
	if _, err := id.look(); err == nil {
		return true
	}
	err := h.send(0, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	return err == nil || err == unix.EPERM
}

// childStatus is what waitid(2) puts behind the three integers that unix.Siginfo names. The empty array aligns it
// as the kernel's union of pointers and integers is.
type childStatus struct {
	_      [0]uintptr
	pid    int32
	uid    uint32
	status int32
}

type childInfo struct {
	_ [3]int32
	childStatus
}

// waitid does not block, and leaves the process a zombie if options say WNOWAIT. It reports pid 0 while it runs, and
// ECHILD when it is not our child or was reaped.
func (h *handle) waitid(options int) (code int32, child childStatus, err error) {
	var info unix.Siginfo
	err = h.control(func(fd int) error {
		for {
			err := unix.Waitid(unix.P_PIDFD, fd, &info, options|unix.WEXITED|unix.WNOHANG, nil)
			if err != unix.EINTR {
				return err
			}
		}
	})
	return info.Code, (*childInfo)(unsafe.Pointer(&info)).childStatus, err
}

func (h *handle) isChild() bool {
	_, _, err := h.waitid(unix.WNOWAIT)
	return err == nil
}

// status tells how the process ended. It does not reap. Call it after the exit.
func (h *handle) status(id ID) Exit {
	code, child, err := h.waitid(unix.WNOWAIT)
	if err != nil {
		return h.strangersStatus(id)
	}
	const exited, killed, dumped = 1, 2, 3 // CLD_EXITED … of sigaction(2)
	switch {
	case child.pid == 0:
		return Exit{}
	case code == exited:
		return Exit{Code: int(child.status), Known: true}
	case code == killed || code == dumped:
		return Exit{Signal: syscall.Signal(child.status), Known: true}
	}
	return Exit{}
}

// strangersStatus is status for a process that another one is the parent of. The kernel keeps the status in two
// places: in /proc while it is a zombie, behind the pidfd once it was reaped. It passes from one to the other
// at any moment, but never back, so a look at the first, then the second cannot miss it (before Linux 6.15: may).
func (h *handle) strangersStatus(id ID) Exit {
	if e := id.zombieExit(); e.Known {
		return e
	}
	about := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err := h.control(func(fd int) error { return unix.IoctlPidfdInfo(fd, &about) })
	if err == nil && about.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return exitOf(syscall.WaitStatus(about.Exit_code))
	}
	return Exit{}
}

// zombieExit reads how a process ended from field 52 of proc_pid_stat(5).
func (id ID) zombieExit() Exit {
	info, err := id.look()
	if err == nil && info.Dead() && (info.ExitCode != 0 || sameUser(id.Pid)) {
		return exitOf(syscall.WaitStatus(info.ExitCode))
	}
	return Exit{}
}

// sameUser guards against field 52 of proc_pid_stat(5), which reads 0 for those who may not know it.
func sameUser(pid int) bool {
	var st unix.Stat_t
	err := unix.Stat("/proc/"+strconv.Itoa(pid), &st)
	return err == nil && int(st.Uid) == os.Geteuid()
}

// reap collects the zombie, if it is our child.
func (h *handle) reap() error {
	_, _, err := h.waitid(0)
	if err == unix.ECHILD {
		return nil
	}
	return err
}

// destroy ends a child that cannot be used, before anybody knows of it.
func (h *handle) destroy() {
	_ = h.signal(unix.SIGKILL)
	h.wait()
	_ = h.reap()
	h.close()
}

func (h *handle) close() { _ = h.file.Close() }
