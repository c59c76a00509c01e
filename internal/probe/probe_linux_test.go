package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

func TestReady(t *testing.T) {
	inst := newInstance(t)
	p := start(t, daemon{Inst: inst, Lock: true, Guard: true, Socket: true, Answer: "welcome", Phase: lock.Serving, PidFile: "4711\n"}, nil)
	rep := look(t, t.Context(), inst)
	require.Equal(t, Ready, rep.Verdict, "%+v", rep)
	require.NoError(t, rep.Err)
	require.Equal(t, p.Pid, rep.Pid)
	require.Equal(t, p.Pid, rep.Welcome.Pid)
	require.Equal(t, inst.Root, rep.Welcome.Root)
	require.True(t, rep.Held)
	require.Equal(t, p.Pid, rep.Holder)
	require.True(t, rep.Socket)
	require.Equal(t, 4711, rep.PidFile)
	require.True(t, rep.Recorded)
	require.Equal(t, lock.Serving, rep.Record.Phase)
	require.NotEmpty(t, rep.Command)

	c, rep := Contact(t.Context(), inst, greeting(inst), ipc.ConnOptions{})
	require.Equal(t, Ready, rep.Verdict)
	require.NoError(t, c.Err(), "with Ready the connection is the caller's")
	_, err := HelloMethod.Call(t.Context(), c, greeting(inst))
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// TestAnswers: each answer to hello has its verdict, and no connection comes with any but Ready.
func TestAnswers(t *testing.T) {
	for answer, want := range map[string]struct {
		verdict Verdict
		says    string
	}{
		"draining":                {verdict: Draining},
		"incompatible":            {Skewed, "the daemon (build v9) speaks protocol 7 to 9, this client 1 to 2"},
		"root mismatch":           {Collision, "the daemon serves /other (device 1, inode 2), not this "},
		"welcome to another root": {Collision, "the daemon serves "},
		"something new":           {Unknown, "nothing that this client knows"},
		"an error":                {Unknown, "no hello today"},
	} {
		inst := newInstance(t)
		p := start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: answer}, nil)
		c, rep := Contact(t.Context(), inst, greeting(inst), ipc.ConnOptions{})
		require.Nil(t, c, answer)
		require.Equal(t, want.verdict, rep.Verdict, answer)
		rep = look(t, t.Context(), inst)
		require.Equal(t, want.verdict, rep.Verdict, "%s: %+v", answer, rep)
		require.Equal(t, p.Pid, rep.Pid, answer)
		if want.says == "" {
			require.NoError(t, rep.Err, answer)
		} else {
			require.ErrorContains(t, rep.Err, want.says, answer)
		}
		if rep.Verdict == Draining {
			require.Equal(t, "asked to stop", rep.Reason)
		}
	}
}

// TestLostConnectionIsAskedAgain: nothing was asked yet, so it is safe.
func TestLostConnectionIsAskedAgain(t *testing.T) {
	inst := newInstance(t)
	start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: "welcome", Lose: 4}, nil)
	c, rep := Contact(t.Context(), inst, greeting(inst), ipc.ConnOptions{})
	require.Nil(t, c)
	require.Equal(t, Lost, rep.Verdict)
	require.ErrorIs(t, rep.Err, ipc.ErrClosed)
	require.Equal(t, Ready, look(t, t.Context(), inst).Verdict)
}

// TestLostForGoodIsJudgedByTheLock, and what talks something else is no daemon either.
func TestLostForGoodIsJudgedByTheLock(t *testing.T) {
	for _, d := range []daemon{{Answer: "welcome", Lose: 1000}, {Answer: "garbage"}} {
		d.Socket = true
		d.Inst = newInstance(t)
		start(t, d, nil)
		require.Equal(t, Stale, look(t, t.Context(), d.Inst).Verdict, "%+v", d)
		d.Inst = newInstance(t)
		d.Lock = true
		start(t, d, nil)
		rep := look(t, t.Context(), d.Inst)
		require.Equal(t, Starting, rep.Verdict, "%+v", d)
		require.Error(t, rep.Err)
	}
}

// TestUnresponsive: connected, and no answer. Its pid and state are named, nobody is killed.
func TestUnresponsive(t *testing.T) {
	for _, answer := range []string{"silence", "half a line", "stopped"} {
		inst := newInstance(t)
		d := daemon{Inst: inst, Lock: true, Socket: true, Answer: answer}
		if answer == "stopped" {
			d.Answer = "welcome"
		}
		p := start(t, d, nil)
		if answer == "stopped" {
			stopped(t, p)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		rep := look(t, ctx, inst)
		require.Equal(t, Unresponsive, rep.Verdict, "%s: %+v", answer, rep)
		require.ErrorIs(t, rep.Err, context.DeadlineExceeded)
		require.Equal(t, p.Pid, rep.Pid)
		require.Equal(t, answer == "stopped", rep.Stopped(), answer)
		require.NotEmpty(t, rep.Command)
		require.NoError(t, p.Signal(unix.Signal(0)), "it lives")
	}
}

// TestStoppedDaemonIsNotWaitedFor has no deadline but the probe's own.
func TestStoppedDaemonIsNotWaitedFor(t *testing.T) {
	inst := newInstance(t)
	p := start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: "welcome"}, nil)
	stopped(t, p)
	rep := look(t, t.Context(), inst)
	require.Equal(t, Unresponsive, rep.Verdict)
	require.Equal(t, byte('T'), rep.State)
	// Not the whole helloTimeout: then the error would be the deadline's.
	require.ErrorIs(t, rep.Err, context.Canceled)
}

// TestBusy: a stopped daemon whose backlog is full is alive, and never spawned beside.
func TestBusy(t *testing.T) {
	inst := newInstance(t)
	p := start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: "welcome", PidFile: fmt.Sprintln(4711)}, nil)
	stopped(t, p)
	dir, err := os.Open(inst.Dir())
	require.NoError(t, err)
	defer dir.Close()
	for {
		c, err := ipc.Connect(t.Context(), dir, instance.SocketName)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	rep := look(t, t.Context(), inst)
	require.Equal(t, Busy, rep.Verdict, "%+v", rep)
	require.ErrorIs(t, rep.Err, unix.EAGAIN)
	require.True(t, rep.Held)
	require.Equal(t, p.Pid, rep.Pid, "its holder can be named")
	require.True(t, rep.Stopped())
}

func TestStartingAndStopping(t *testing.T) {
	for what, c := range map[string]struct {
		d    daemon
		want Verdict
	}{
		"lock":                 {daemon{Lock: true}, Starting},
		"guard":                {daemon{Guard: true}, Starting},
		"both":                 {daemon{Lock: true, Guard: true}, Starting},
		"recorded as starting": {daemon{Lock: true, Phase: lock.Starting}, Starting},
		"recorded as failed":   {daemon{Lock: true, Phase: lock.Failed}, Starting},
		"recorded as stopping": {daemon{Lock: true, Guard: true, Phase: lock.Stopping}, Stopping},
	} {
		inst := newInstance(t)
		c.d.Inst = inst
		p := start(t, c.d, nil)
		rep := look(t, t.Context(), inst)
		require.Equal(t, c.want, rep.Verdict, "%s: %+v", what, rep)
		require.True(t, rep.Held, what)
		require.Equal(t, p.Pid, rep.Pid, what)
		kill(t, p, inst)
		require.Equal(t, Absent, look(t, t.Context(), inst).Verdict, what)
	}
}

// TestHolderIsNamedByTheRecordOnlyWhenItIsHis: a pid of another boot means somebody else, and so
// does one with another start time.
func TestHolderIsNamedByTheRecordOnlyWhenItIsHis(t *testing.T) {
	inst := newInstance(t)
	// The record names this process here, which is alive and is who it says.
	p := start(t, daemon{Inst: inst, Lock: true, Phase: lock.Starting, Pid: os.Getpid()}, nil)
	require.Equal(t, os.Getpid(), look(t, t.Context(), inst).Pid)
	kill(t, p, inst)
	p = start(t, daemon{Inst: inst, Lock: true, Phase: lock.Starting, Pid: os.Getpid(), Boot: "another"}, nil)
	require.Equal(t, p.Pid, look(t, t.Context(), inst).Pid)
}

// TestDeadWriterOfTheRecordIsNotTheHolder: where nobody reaps it, it has its pid and start time for ever.
func TestDeadWriterOfTheRecordIsNotTheHolder(t *testing.T) {
	zombie := exec.Command("true")
	require.NoError(t, zombie.Start())
	defer func() { require.NoError(t, zombie.Wait()) }()
	eventually(t, "it is dead", func() bool {
		info, err := process.Stat(zombie.Process.Pid)
		return err == nil && info.Dead()
	})
	inst := newInstance(t)
	p := start(t, daemon{Inst: inst, Lock: true, Phase: lock.Starting, Pid: zombie.Process.Pid}, nil)
	require.Equal(t, p.Pid, look(t, t.Context(), inst).Pid)
}

func TestStale(t *testing.T) {
	inst := newInstance(t)
	p := start(t, daemon{Inst: inst, Lock: true, Guard: true, Socket: true, Answer: "welcome", Phase: lock.Serving, PidFile: "4711\n"}, nil)
	kill(t, p, inst)
	rep := look(t, t.Context(), inst)
	require.Equal(t, Stale, rep.Verdict, "%+v", rep)
	require.True(t, rep.Socket)
	require.False(t, rep.Held)
	require.Zero(t, rep.Pid, "nobody is there to be named")
	require.Equal(t, lock.Serving, rep.Record.Phase)

	require.NoError(t, os.Remove(inst.Path(instance.SocketName)))
	rep = look(t, t.Context(), inst)
	require.Equal(t, Stale, rep.Verdict, "the pid file alone")
	require.NoError(t, os.Remove(inst.Path(instance.PidName)))
	require.Equal(t, Absent, look(t, t.Context(), inst).Verdict)
}

// TestSomethingElseInPlaceOfTheSocket is left behind, with the lock free, and is no daemon.
func TestSomethingElseInPlaceOfTheSocket(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"file":          func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"FIFO":          func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"symlink":       func(p string) error { return os.Symlink("/nonexistent", p) },
		"dead socket":   func(p string) error { _, err := boundSocket(p, 0o600); return err },
		"datagram":      func(p string) error { _, err := bound(p, unix.SOCK_DGRAM); return err },
		"socket, bound": func(p string) error { _, err := bound(p, unix.SOCK_STREAM); return err },
	} {
		inst := newInstance(t)
		require.NoError(t, os.MkdirAll(inst.Dir(), 0o700))
		require.NoError(t, put(inst.Path(instance.SocketName)), what)
		rep := look(t, t.Context(), inst)
		require.Equal(t, Stale, rep.Verdict, "%s: %+v", what, rep)
	}
}

// bound makes a socket that does not listen.
func bound(path string, kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return -1, err
	}
	defer dir.Close()
	// The path may be longer than an address.
	return fd, unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))})
}

// boundSocket makes one that nobody has open any more.
func boundSocket(path string, mode fs.FileMode) (int, error) {
	fd, err := bound(path, unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	return -1, errors.Join(unix.Close(fd), os.Chmod(path, mode))
}

func TestAbsent(t *testing.T) {
	inst := newInstance(t)
	rep := look(t, t.Context(), inst)
	require.Equal(t, Report{Verdict: Absent}, rep)
	require.NoDirExists(t, inst.State, "looking creates nothing")
	for _, dir := range []string{inst.State, inst.Dir()} {
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.Equal(t, Report{Verdict: Absent}, look(t, t.Context(), inst))
	}
	require.NoError(t, os.WriteFile(inst.LockPath(), nil, 0o600), "a lock file that is free is nothing")
	require.Equal(t, Report{Verdict: Absent}, look(t, t.Context(), inst))
}

func TestPidFile(t *testing.T) {
	for text, want := range map[string]int{
		"4711\n": 4711, "4711": 4711, "2\n": 2, "4194304\n": 4194304,
		"": 0, "\n": 0, "1\n": 0, "0\n": 0, "-1\n": 0, "-4711\n": 0, "4711\n\n": 0, " 4711\n": 0, "4711 x\n": 0, "x": 0, "0x10\n": 0,
		"4194305\n": 0, "9223372036854775807\n": 0, "99999999999999999999999\n": 0, "4711\x00\n": 0,
	} {
		inst := newInstance(t)
		require.NoError(t, os.MkdirAll(inst.Dir(), 0o700))
		require.NoError(t, os.WriteFile(inst.Path(instance.PidName), []byte(text), 0o600))
		rep := look(t, t.Context(), inst)
		require.Equal(t, want, rep.PidFile, "%q", text)
	}
	for what, put := range map[string]func(path string) error{
		"1 MiB":     func(p string) error { return os.WriteFile(p, make([]byte, 1<<20), 0o600) },
		"FIFO":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"symlink":   func(p string) error { return os.Symlink("good", p) },
	} {
		inst := newInstance(t)
		require.NoError(t, os.MkdirAll(inst.Dir(), 0o700))
		require.NoError(t, os.WriteFile(inst.Path("good"), []byte("4711\n"), 0o600))
		require.NoError(t, put(inst.Path(instance.PidName)), what)
		require.Zero(t, look(t, t.Context(), inst).PidFile, what)
	}
}

func TestDenied(t *testing.T) {
	needNoRoot(t)
	for what, close := range map[string]func(inst instance.Instance) string{
		"socket":             func(i instance.Instance) string { return i.Path(instance.SocketName) },
		"instance directory": func(i instance.Instance) string { return i.Dir() },
		"state directory":    func(i instance.Instance) string { return i.State },
		"above":              func(i instance.Instance) string { return i.Root.Path },
	} {
		inst := newInstance(t)
		start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: "welcome"}, nil)
		path := close(inst)
		fi, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(path, 0))
		rep := Probe(t.Context(), inst, greeting(inst))
		require.NoError(t, os.Chmod(path, fi.Mode()))
		require.Equal(t, Denied, rep.Verdict, "%s: %+v", what, rep)
		require.ErrorIs(t, rep.Err, fs.ErrPermission, what)
		require.Equal(t, Ready, look(t, t.Context(), inst).Verdict, what)
	}
}

// TestForeignDaemon: another user listens in our directory. Nothing is said to it.
func TestForeignDaemon(t *testing.T) {
	needRoot(t)
	inst := newInstance(t)
	require.NoError(t, os.MkdirAll(inst.Dir(), 0o700))
	fd, err := bound(inst.Path(instance.SocketName), unix.SOCK_STREAM)
	require.NoError(t, err)
	squat := os.NewFile(uintptr(fd), "squat")
	defer squat.Close()
	p := start(t, daemon{Listen: true}, func(cmd *exec.Cmd) {
		cmd.ExtraFiles = []*os.File{squat}
		cmd.SysProcAttr = asUser(somebody)
	})
	rep := look(t, t.Context(), inst)
	require.Equal(t, Foreign, rep.Verdict, "%+v", rep)
	var oerr *instance.OwnerError
	require.ErrorAs(t, rep.Err, &oerr)
	require.Equal(t, somebody, oerr.Owner)
	require.NotEmpty(t, oerr.Hint)
	require.Equal(t, p.Pid, rep.Pid)

	c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(c)
	n, err := unix.Read(c, make([]byte, 1))
	require.NoError(t, err)
	require.Zero(t, n, "a stranger was told something")
}

func TestForeignDirectory(t *testing.T) {
	needRoot(t)
	for _, which := range []func(instance.Instance) string{
		func(i instance.Instance) string { return i.State }, func(i instance.Instance) string { return i.Dir() }} {
		inst := newInstance(t)
		start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: "welcome"}, nil)
		require.NoError(t, os.Chown(which(inst), somebody, somebody))
		rep := look(t, t.Context(), inst)
		require.Equal(t, Foreign, rep.Verdict, "%+v", rep)
		var oerr *instance.OwnerError
		require.ErrorAs(t, rep.Err, &oerr)
	}
}

func TestDirectoryOpenToOthersIsForeign(t *testing.T) {
	inst := newInstance(t)
	start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: "welcome"}, nil)
	require.NoError(t, os.Chmod(inst.Dir(), 0o755))
	rep := look(t, t.Context(), inst)
	require.Equal(t, Foreign, rep.Verdict)
	var merr *instance.ModeError
	require.ErrorAs(t, rep.Err, &merr)
}

// TestDeepDirectory: the path of the socket is longer than a socket's address.
func TestDeepDirectory(t *testing.T) {
	inst := newInstance(t)
	inst.State = filepath.Join(inst.Root.Path, fmt.Sprintf("%0150d", 0), "hob")
	p := start(t, daemon{Inst: inst, Lock: true, Socket: true, Answer: "welcome"}, nil)
	rep := look(t, t.Context(), inst)
	require.Equal(t, Ready, rep.Verdict, "%+v", rep)
	require.Equal(t, p.Pid, rep.Pid)
}
