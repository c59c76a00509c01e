//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/process"
)

const statusCall = `{"jsonrpc":"2.0","id":1,"method":"hob.status"}` + "\n"

// TestAnotherUsersClientIsToldNothing (S6): it does not get to the socket; and where somebody opened the way to it, or for root, who gets
// everywhere, the connection is closed without a byte.
func TestAnotherUsersClientIsToldNothing(t *testing.T) {
	t.Parallel()
	needTwoUsers(t)
	w := newWorld(t)
	w.ok("daemon", "start")
	socket := w.inst().Path(instance.SocketName)
	require.Equal(t, "EACCES", attack(t, stranger, nil, "connect", socket, statusCall).says())
	w.opened(socket)
	require.Equal(t, "connected, read false", attack(t, stranger, nil, "connect", socket, statusCall).says())
	require.Contains(t, w.daemonLog(), fmt.Sprintf("foreign client\" uid=%d", stranger))
	t.Run("control", func(t *testing.T) {
		require.Equal(t, "connected, read true", attack(t, 0, nil, "connect", socket, statusCall).says(), "its own user")
		open := filepath.Join(filepath.Dir(socket), "open")
		echo, err := net.Listen("unix", open)
		require.NoError(t, err)
		defer echo.Close()
		require.NoError(t, os.Chmod(open, 0o666))
		go func() {
			if c, err := echo.Accept(); err == nil {
				_, _ = c.Write([]byte("x"))
				c.Close()
			}
		}()
		require.Equal(t, "connected, read true", attack(t, stranger, nil, "connect", open, statusCall).says(), "a server that does not look")
	})
	t.Run("root", func(t *testing.T) {
		w := newWorld(t)
		for _, dir := range []string{filepath.Dir(w.home), w.home, w.project} {
			require.NoError(t, os.Chown(dir, stranger, stranger))
		}
		cmd := w.command("daemon", "start")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
		require.Zero(t, w.run(cmd).code)
		require.Equal(t, "connected, read false", attack(t, 0, nil, "connect", w.inst().Path(instance.SocketName), statusCall).says())
	})
}

// TestAnotherUsersServerIsToldNothing (S7): one that got hold of the socket's place is named, and hears not a byte.
func TestAnotherUsersServerIsToldNothing(t *testing.T) {
	t.Parallel()
	needTwoUsers(t)
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.inst().Dir(), 0o700))
	socket := w.inst().Path(instance.SocketName)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	bound := os.NewFile(uintptr(fd), socket)
	defer bound.Close()
	squatter := attack(t, stranger, []*os.File{bound}, "squat")
	require.Equal(t, "there", squatter.says())
	for _, args := range [][]string{{"ps"}, {"run", "web", "--", "true"}, {"daemon", "restart"}} {
		e := w.failure(1, args...)
		require.Equal(t, "foreign", e.Code, "%v", args)
		require.Contains(t, e.Message, strconv.Itoa(stranger))
		require.NotEmpty(t, e.Hint)
		require.Equal(t, "heard 0", squatter.says(), "%v", args)
	}
	t.Run("control", func(t *testing.T) {
		c, err := net.Dial("unix", socket)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("secret"))
		require.NoError(t, err)
		require.Equal(t, "heard 6", squatter.says(), "a client that does not look")
	})
}

// TestLeftoversOfRootAreNamed (S8): what root left in a user's home, and what is the user's for root, is refused with owner and way out, and not
// given to anybody else. Each with a home of his own has an instance of his own.
func TestLeftoversOfRootAreNamed(t *testing.T) {
	t.Parallel()
	needTwoUsers(t)
	w := newWorld(t)
	for _, dir := range []string{filepath.Dir(w.home), w.home, w.project} {
		require.NoError(t, os.Chown(dir, stranger, stranger))
	}
	as := func(uid uint32, home string, args ...string) result {
		cmd := w.command(args...)
		cmd.Env = append(cmd.Env, "HOME="+home)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return w.run(cmd)
	}
	owner := func(path string) int {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(path, &st))
		return int(st.Uid)
	}
	require.NoError(t, os.MkdirAll(w.stateDir(), 0o700)) // by root
	for path := w.stateDir(); path != w.home; path = filepath.Dir(path) {
		require.NoError(t, os.Chmod(path, 0o755)) // so that the user gets there
	}
	require.NoError(t, os.Chmod(w.stateDir(), 0o700))
	r := as(stranger, w.home, "run", "web", "--", "true")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, w.stateDir())
	require.Contains(t, r.stderr, "root")
	require.Contains(t, r.stderr, "sudo chown -R "+strconv.Itoa(stranger)+" "+w.stateDir())
	require.Zero(t, owner(w.stateDir()))
	require.Empty(t, namesIn(t, w.stateDir()))
	t.Run("control", func(t *testing.T) {
		require.Equal(t, "EACCES", attack(t, stranger, nil, "write", filepath.Join(w.stateDir(), "x")).says(), "it is in the user's way")
	})

	require.NoError(t, os.RemoveAll(filepath.Join(w.home, ".local")))
	require.Zero(t, as(stranger, w.home, "daemon", "start").code)
	users := w.pid()
	r = as(0, w.home, "run", "web", "--", "true")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, strconv.Itoa(stranger))
	require.Contains(t, r.stderr, "sudo -H")
	require.Equal(t, stranger, owner(w.stateDir()))
	roots := filepath.Join(filepath.Dir(w.home), "roots")
	require.NoError(t, os.Mkdir(roots, 0o700))
	require.Zero(t, as(0, roots, "daemon", "start").code, "what sudo -H does")
	require.Equal(t, users, w.pid())
	require.Zero(t, owner(filepath.Join(roots, ".local/state/hob")))
	require.Zero(t, as(0, roots, "daemon", "stop").code)
}

// TestSquattedGuardStopsNobody (S21): the guard's name is anybody's to take. Another user's process that has it is named in the log, and a
// daemon starts all the same, one for all who call.
func TestSquattedGuardStopsNobody(t *testing.T) {
	t.Parallel()
	needTwoUsers(t)
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.stateDir(), 0o700))
	state, err := os.Open(w.stateDir())
	require.NoError(t, err)
	defer state.Close()
	key, err := w.inst().Key(state)
	require.NoError(t, err)
	t.Run("control", func(t *testing.T) {
		mine := attack(t, os.Geteuid(), nil, "guard", key)
		require.Equal(t, "squats", mine.says())
		require.NotZero(t, w.hob("daemon", "start", "--timeout=1s").code, "of this user it would stop everybody")
		mine.letGo()
	})
	squatter := attack(t, stranger, nil, "guard", key)
	require.Equal(t, "squats", squatter.says())
	w.ok("run", "web", "--", "sleep", "1000")
	pid := w.pid()
	for range 3 {
		w.ok("daemon", "start")
		require.Equal(t, pid, w.pid())
	}
	require.Equal(t, 1, w.starts())
	require.Contains(t, w.daemonLog(), fmt.Sprintf("uid=%d pid=%d", stranger, squatter.cmd.Process.Pid))
}

// TestStrangersCantHoldTheLock (S22): nobody else can open the lock file. Where it was opened to others it is refused, and who holds it is named.
func TestStrangersCantHoldTheLock(t *testing.T) {
	t.Parallel()
	needTwoUsers(t)
	w := newWorld(t)
	w.ok("daemon", "start")
	w.ok("daemon", "stop")
	file := w.inst().LockPath()
	fi, err := os.Lstat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode())
	require.Equal(t, "EACCES", attack(t, stranger, nil, "lock", file).says())
	t.Run("control", func(t *testing.T) {
		w.opened(file)
		holder := attack(t, stranger, nil, "lock", file)
		require.Equal(t, "held", holder.says(), "with the way open")
		require.NoError(t, os.Chmod(w.stateDir(), 0o700))
		e := w.failure(1, "daemon", "start")
		require.Contains(t, e.Message, "0666", "and then it is not used")
		holder.letGo()
	})
	require.NoError(t, os.Chmod(file, 0o600))
	holder := attack(t, 0, nil, "lock", file)
	require.Equal(t, "held", holder.says())
	d := w.doc(1, "daemon", "status").Daemon
	require.Equal(t, "starting", d.State)
	require.Equal(t, holder.cmd.Process.Pid, d.Pid)
	holder.letGo()
	w.ok("daemon", "start")
}

// TestOtherUsersCantStopHobd (S23): they can neither signal nor trace it. Who is the same user can; TestStoppedDaemon has what is said then.
func TestOtherUsersCantStopHobd(t *testing.T) {
	t.Parallel()
	needTwoUsers(t)
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	stop := strconv.Itoa(int(syscall.SIGSTOP))
	pids := []int{w.pid(), w.doc(0, "ps", "web").Service.Pid, w.onGuard(1)}
	for _, pid := range pids {
		require.Equal(t, "EPERM", attack(t, stranger, nil, "signal", strconv.Itoa(pid), stop).says())
		require.Equal(t, "EPERM", attack(t, stranger, nil, "ptrace", strconv.Itoa(pid)).says())
		require.Equal(t, "EACCES", attack(t, stranger, nil, "read", fmt.Sprintf("/proc/%d/environ", pid)).says())
	}
	w.ok("daemon", "ping")
	t.Run("control", func(t *testing.T) {
		require.Equal(t, "sent", attack(t, 0, nil, "signal", strconv.Itoa(w.pid()), stop).says())
		w.eventually("it is stopped", func() bool {
			info, err := process.Stat(w.pid())
			return err == nil && info.State == 'T'
		})
		require.Equal(t, "unresponsive", w.doc(1, "daemon", "status").Daemon.State)
		w.kill(w.pid(), syscall.SIGCONT)
	})
	w.ok("daemon", "ping")
}
