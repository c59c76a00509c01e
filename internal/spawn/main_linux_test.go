package spawn

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// patience is a deadline for what must happen: long, because a busy machine is no failure.
const patience = 60 * time.Second

// somebody is a user id that is neither root's nor, as a rule, that of whoever runs the tests.
const somebody = 65534

// self is this program for a child of any user: its path may lead through directories of mode 0700.
const self = "/proc/self/exe"

// roleVar says what the daemon, this binary again, does; factsVar names the directory in which
// each daemon first says who it is, in a file of its own.
const roleVar, factsVar = "SPAWN_TEST_ROLE", "SPAWN_TEST_FACTS"

// facts are what a daemon finds when it starts.
type facts struct {
	Pid, Session  int
	Env           []string
	Dir           string
	Std           [3]string // where descriptors 0, 1 and 2 lead
	Leaked        []int     // descriptors that a program which it started would get, before CloseStray
	Left          []int     // and after
	Inherited     Inherited
	Ok            bool
	EnvIsTheirs   bool // HOB_HANDOFF is there still
	HandoffErrror string
}

// roles are what a daemon does once its facts are written. c is the readiness channel.
var roles = map[string]func(c net.Conn){
	"ready": func(c net.Conn) { ready(c) },
	"progress": func(c net.Conn) {
		for _, stage := range []string{"one", "two", "three"} {
			Report(c, Message{Progress: &Progress{Stage: stage}})
		}
		ready(c)
	},
	"greet": func(c net.Conn) {
		// Ready and what follows it in one write: none of it may be lost.
		_, _ = io.WriteString(c, `{"ready":{"pid":1}}`+"\nhello\n")
		select {}
	},
	"error": func(c net.Conn) {
		Report(c, ErrorOf("bind", &fs.PathError{Op: "bind", Path: "/x", Err: unix.EADDRINUSE}))
		os.Exit(1)
	},
	"terminated": func(c net.Conn) {
		Report(c, Message{Error: &Error{Stage: "start", Code: CodeTerminated, Message: "told to stop"}})
		os.Exit(0)
	},
	"exit": func(net.Conn) {
		fmt.Fprintln(os.Stderr, "hobd: the disk is on fire")
		os.Exit(3)
	},
	"exit 0": func(net.Conn) { os.Exit(0) },
	"panic":  func(net.Conn) { fmt.Fprintln(os.Stderr, "before"); panic("boom") },
	"signal": func(net.Conn) { _ = unix.Kill(os.Getpid(), unix.SIGKILL); select {} },
	"garbage": func(c net.Conn) {
		_, _ = io.WriteString(c, "Usage: not-a-hobd [OPTION]\x1b[31m\n")
		select {}
	},
	"empty object": func(c net.Conn) { _, _ = io.WriteString(c, "{}\n"); select {} },
	"endless line": func(c net.Conn) { _, _ = c.Write(make([]byte, 4*maxLine)); select {} },
	"half a line":  func(c net.Conn) { _, _ = io.WriteString(c, `{"rea`); os.Exit(4) },
	"mute":         func(c net.Conn) { c.Close(); select {} },
	"silent":       func(c net.Conn) { select {} },
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleVar)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	time.AfterFunc(4*patience, func() { os.Exit(99) }) // nothing outlives a broken test for long
	f, c := gather()
	data, err := json.Marshal(f)
	if err == nil {
		path := filepath.Join(os.Getenv(factsVar), strconv.Itoa(f.Pid))
		if err = os.WriteFile(path+".new", data, 0o600); err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
	roles[role](c)
	os.Exit(0)
}

// gather does what a daemon does first, and notes what it finds.
func gather() (f facts, c net.Conn) {
	f.Pid, f.Env = os.Getpid(), os.Environ()
	f.Session, _ = unix.Getsid(0)
	f.Dir, _ = os.Getwd()
	for n := range f.Std {
		f.Std[n], _ = os.Readlink(fmt.Sprint("/proc/self/fd/", n))
	}
	f.Leaked = inheritable()
	id, _, _ := strings.Cut(os.Getenv(Env), ":")
	var err error
	if f.Inherited, f.Ok, err = Inherit(instance.Instance{ID: id}); err != nil {
		f.HandoffErrror = err.Error()
	}
	f.EnvIsTheirs = os.Getenv(Env) != ""
	CloseStray(f.Inherited)
	f.Left = inheritable()
	unix.CloseOnExec(f.Inherited.Lock)
	file := os.NewFile(uintptr(f.Inherited.Ready), "readiness")
	defer file.Close()
	c, _ = net.FileConn(file)
	kept = lock.GuardFromFD(f.Inherited.Guard)
	return f, c
}

// kept must not be collected, and closed by that.
var kept *lock.Guard

// inheritable lists the descriptors from 3 up that lack close-on-exec.
func inheritable() []int {
	list := []int{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && fd >= 3 && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	return list
}

// ready says so, and then answers each line with itself until the connection ends.
func ready(c net.Conn) {
	Report(c, Message{Ready: &Ready{Pid: os.Getpid()}})
	for lines := bufio.NewScanner(c); lines.Scan(); {
		fmt.Fprintln(c, lines.Text())
	}
	select {}
}

// world is one instance and every daemon that was started in it.
type world struct {
	t     *testing.T
	inst  instance.Instance
	facts string
}

// newWorld ends, when the test does, what was started in it.
func newWorld(t *testing.T) *world {
	t.Helper()
	base := t.TempDir()
	root, err := instance.OpenRoot(base)
	require.NoError(t, err)
	w := &world{t: t, inst: instance.Instance{ID: "0123456789abcdef", Root: root, State: filepath.Join(base, "hob")},
		facts: filepath.Join(base, "facts")}
	require.NoError(t, os.Mkdir(w.facts, 0o700))
	t.Cleanup(func() {
		for _, f := range w.daemons() {
			w.end(f.Pid)
		}
	})
	return w
}

// starter gives one client's Starter, whose daemon plays role.
func (w *world) starter(role string) *Starter {
	return &Starter{Instance: w.inst, Began: lock.Now(), Command: Command{Argv: []string{self},
		Env: []string{roleVar + "=" + role, factsVar + "=" + w.facts, "GORACE=atexit_sleep_ms=0"}}}
}

// daemons gives the facts of all that were started.
func (w *world) daemons() []facts {
	w.t.Helper()
	entries, err := os.ReadDir(w.facts)
	require.NoError(w.t, err)
	var all []facts
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".new") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(w.facts, e.Name()))
		require.NoError(w.t, err)
		var f facts
		require.NoError(w.t, json.Unmarshal(data, &f))
		all = append(all, f)
	}
	return all
}

// daemon gives the facts of the only one.
func (w *world) daemon() facts {
	w.t.Helper()
	all := w.daemons()
	require.Len(w.t, all, 1)
	return all[0]
}

// end kills a daemon and waits until it is reaped: by us, because it is our child.
func (w *world) end(pid int) {
	w.t.Helper()
	_ = unix.Kill(pid, unix.SIGKILL)
	eventually(w.t, fmt.Sprintf("pid %d is gone, and no zombie", pid), func() bool {
		_, err := process.Stat(pid)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// must starts a daemon that becomes ready.
func (w *world) must(role string) net.Conn {
	w.t.Helper()
	c, err := w.starter(role).Start(w.t.Context())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

// fail starts one that does not.
func (w *world) fail(role string) *Failure {
	w.t.Helper()
	c, err := w.starter(role).Start(w.t.Context())
	require.Nil(w.t, c)
	var f *Failure
	require.ErrorAs(w.t, err, &f)
	return f
}

// state opens the state directory for f.
func (w *world) state(f func(dir *os.File)) {
	w.t.Helper()
	dir, err := w.inst.OpenState(true)
	require.NoError(w.t, err)
	defer dir.Close()
	f(dir)
}

func (w *world) record() (r lock.Record) {
	w.t.Helper()
	w.state(func(dir *os.File) {
		var ok bool
		r, ok = lock.ReadRecord(dir, w.inst.LockName())
		require.True(w.t, ok)
	})
	return r
}

// write puts a record into the lock file of an instance that nobody starts or serves.
func (w *world) write(r lock.Record) {
	w.t.Helper()
	w.state(func(dir *os.File) {
		l, err := lock.TryAcquire(dir, w.inst.LockName())
		require.NoError(w.t, err)
		require.NoError(w.t, l.WriteRecord(r))
		require.NoError(w.t, l.Close())
	})
}

// held reports whether some process has the lock file's lock.
func (w *world) held() (is bool) {
	w.t.Helper()
	w.state(func(dir *os.File) {
		var err error
		is, _, err = lock.Held(dir, w.inst.LockName())
		require.NoError(w.t, err)
	})
	return is
}

// guarded reports whether some process has the guard.
func (w *world) guarded() (is bool) {
	w.t.Helper()
	w.state(func(dir *os.File) {
		key, err := w.inst.Key(dir)
		require.NoError(w.t, err)
		_, _, is = lock.LookGuard(key)
	})
	return is
}

// free waits until lock and guard are: a killed holder can keep them for another moment.
func (w *world) free() {
	w.t.Helper()
	eventually(w.t, "lock and guard are free", func() bool { return !w.guarded() && !w.held() })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// TestAsOrdinaryUser runs the tests of this package once more as one.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir, err := os.MkdirTemp("", "hob-spawn-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chown(dir, somebody, somebody))
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.skip=^TestAsOrdinaryUser$")
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
