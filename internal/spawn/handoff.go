package spawn

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
)

// Env is the variable that tells a daemon what it inherited: "ID:ready,lock,guard", the guard
// being -1 when there is none.
const Env = "HOB_HANDOFF"

// handoff is what a client hands to the daemon it starts, at descriptors 3, 4 and 5.
type handoff struct {
	ready, lock, guard *os.File
}

func (h handoff) list() []*os.File {
	if h.guard == nil {
		return []*os.File{h.ready, h.lock}
	}
	return []*os.File{h.ready, h.lock, h.guard}
}

func (h handoff) env(id string) string {
	guard := -1
	if h.guard != nil {
		guard = 5
	}
	return fmt.Sprintf("%s=%s:3,4,%d", Env, id, guard)
}

// Inherited is what a daemon was handed: descriptor numbers, Guard -1 when there is none.
type Inherited struct {
	Ready, Lock, Guard int
}

// Inherit reads and clears Env. ok is false when this process was not started as the daemon of
// the instance.
func Inherit(inst instance.Instance) (in Inherited, ok bool, err error) {
	v := os.Getenv(Env)
	if v == "" {
		return Inherited{}, false, nil
	}
	os.Unsetenv(Env)
	id, fds, _ := strings.Cut(v, ":")
	if id != inst.ID {
		return Inherited{}, false, fmt.Errorf("%s=%s is for another instance than %s (%s)", Env, v, inst.ID, inst.Root.Path)
	}
	f := strings.Split(fds, ",")
	if len(f) != 3 {
		return Inherited{}, false, fmt.Errorf("%s=%s can't be read", Env, v)
	}
	for i, p := range []*int{&in.Ready, &in.Lock, &in.Guard} {
		n, err := strconv.Atoi(f[i])
		none := p == &in.Guard && n == -1
		if err != nil || n < 3 && !none {
			return Inherited{}, false, fmt.Errorf("%s=%s can't be read", Env, v)
		}
		*p = n
	}
	return in, true, nil
}

// CloseStray closes every descriptor from 3 up that was leaked into this process: that lacks
// close-on-exec and is not one of keep. Not a blind loop: the Go runtime has descriptors of its
// own (cgroup limits, since Go 1.25), and closing those made the lock file take their number.
func CloseStray(keep Inherited) {
	dir := "/proc/self/fd"
	if _, err := os.Stat(dir); err != nil {
		dir = "/dev/fd"
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 || fd == keep.Ready || fd == keep.Lock || fd == keep.Guard {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// allowed are the variables that a daemon gets from whichever client happens to start it. What
// a service needs comes with the request for it. Nothing here can change what code runs.
var allowed = []string{"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "TZ", "XDG_STATE_HOME", "HOB_DAEMON"}

// forTests are allowed as well in builds for tests.
var forTests = []string{"HOB_FAULT", "HOB_FAULT_LOG", "HOB_MUTANT", "GORACE", "GOCOVERDIR"}

func environ(inst instance.Instance) []string {
	names := allowed
	if fault.Enabled {
		names = append(names[:len(names):len(names)], forTests...)
	}
	var env []string
	for _, name := range names {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LC_") {
			env = append(env, kv)
		}
	}
	// The directory as it was resolved: the daemon must not come to another conclusion.
	return append(env, "HOB_STATE_DIR="+inst.State, "GOTRACEBACK=all")
}

// detached gives the daemon its own session, so that neither the terminal's hang-up nor Ctrl-C
// reaches it.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// socketpair gives both ends, close-on-exec; far is for the daemon.
func socketpair() (near net.Conn, far *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	file := os.NewFile(uintptr(fds[0]), "readiness")
	far = os.NewFile(uintptr(fds[1]), "readiness")
	near, err = net.FileConn(file)
	file.Close()
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// maxLog is when a daemon's log is put aside, once, at its next start.
const maxLog = 1 << 20

// openLog opens the daemon's log for appending; an old large one becomes hobd.log.1.
func openLog(dir *os.File) (*os.File, error) {
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), instance.DaemonLog, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Size > maxLog {
		_ = unix.Renameat(int(dir.Fd()), instance.DaemonLog, int(dir.Fd()), instance.DaemonLog+".1")
	}
	path := filepath.Join(dir.Name(), instance.DaemonLog)
	fd, err := unix.Openat(int(dir.Fd()), instance.DaemonLog,
		unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("it is not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	_ = unix.SetNonblock(fd, false)
	return f, nil
}
