//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// patience bounds every wait of a test: far above what anything takes, so that only a hang
// meets it.
const patience = 60 * time.Second

// world is a user's: a home, a project, and nothing else. Whatever its hob starts is ended with
// the test.
type world struct {
	t       *testing.T
	home    string
	project string
	bin     string   // where hob and hobd are
	env     []string // added to the few variables that every call gets
}

// newWorld makes one in temporary directories. It is removed, and what runs in it ended, when
// the test ends; that nothing is left is part of every test.
func newWorld(t *testing.T) *world {
	t.Helper()
	base, err := os.MkdirTemp("", "hob-w-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(base, 0o755))
	base, err = filepath.EvalSymlinks(base)
	require.NoError(t, err)
	w := &world{t: t, home: filepath.Join(base, "home"), project: filepath.Join(base, "project"), bin: bin}
	require.NoError(t, os.MkdirAll(w.home, 0o755))
	require.NoError(t, os.MkdirAll(w.project, 0o755))
	t.Cleanup(func() {
		w.end()
		_ = os.RemoveAll(base)
	})
	return w
}

// stateDir is where the files of this world's instances are.
func (w *world) stateDir() string { return filepath.Join(w.home, ".local/state/hob") }

// inst is the project's instance.
func (w *world) inst() instance.Instance {
	w.t.Helper()
	root, err := instance.OpenRoot(w.project)
	require.NoError(w.t, err)
	i, err := instance.New(root, "")
	require.NoError(w.t, err)
	i.State = w.stateDir()
	return i
}

// result is how a call of hob ended.
type result struct {
	stdout, stderr string
	code           int
	signal         syscall.Signal
	took           time.Duration
}

// environ is what a call of hob gets: nothing of the tester's own but PATH.
func (w *world) environ(more ...string) []string {
	env := []string{"HOME=" + w.home, "PATH=" + w.bin + ":" + os.Getenv("PATH"), "USER=" + os.Getenv("USER"), "LANG=C.UTF-8"}
	if raced {
		env = append(env, "GORACE=halt_on_error=1 exitcode=66 atexit_sleep_ms=0")
	}
	return append(append(env, w.env...), more...)
}

// command is a call of hob in the project that was not started yet.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.bin, "hob"), args...)
	cmd.Dir, cmd.Env = w.project, w.environ()
	return cmd
}

// hob runs hob in the project. It fails the test when the call hangs.
func (w *world) hob(args ...string) result {
	w.t.Helper()
	return w.run(w.command(args...))
}

// run runs any command to its end. Its output goes through pipes, so a daemon that kept them would
// make it hang; that is a failure, too.
func (w *world) run(cmd *exec.Cmd) result {
	w.t.Helper()
	return w.launch(cmd).end()
}

// begin starts a command, which is killed at the end of the test if it has not ended; end, which another goroutine may call, is the rest of run.
func (w *world) begin(cmd *exec.Cmd) (end func() result) {
	w.t.Helper()
	c := w.launch(cmd)
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); <-c.ended })
	return c.end
}

// background begins a call of hob and gives the result when it comes.
func (w *world) background(args ...string) <-chan result {
	w.t.Helper()
	c := make(chan result, 1)
	end := w.begin(w.command(args...))
	go func() { c <- end() }()
	return c
}

// launched is a command that somebody waits for.
type launched struct {
	w              *world
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan struct{}
	err            error // of the wait
	took           time.Duration
}

func (w *world) launch(cmd *exec.Cmd) *launched {
	w.t.Helper()
	c := &launched{w: w, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &c.stdout, &c.stderr
	cmd.WaitDelay = patience / 2 // for what has kept its output open
	start := time.Now()
	require.NoError(w.t, cmd.Start())
	go func() {
		c.err = cmd.Wait()
		c.took = time.Since(start)
		close(c.ended)
	}()
	return c
}

func (c *launched) end() result {
	w, cmd := c.w, c.cmd
	w.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	<-c.ended
	r := result{stdout: c.stdout.String(), stderr: c.stderr.String(), took: c.took, code: cmd.ProcessState.ExitCode()}
	if !timer.Stop() {
		w.t.Fatalf("%v hung\nstdout: %s\nstderr: %s\nlog: %s", cmd.Args, r.stdout, r.stderr, w.daemonLog())
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.signal = ws.Signal()
	}
	var exit *exec.ExitError
	if c.err != nil && !errors.As(c.err, &exit) {
		w.t.Fatalf("%v: %v", cmd.Args, c.err)
	}
	return r
}

// ok runs hob and expects success.
func (w *world) ok(args ...string) result {
	w.t.Helper()
	r := w.hob(args...)
	require.Zero(w.t, r.code, "hob %v: stdout %q stderr %q\nlog: %s", args, r.stdout, r.stderr, w.daemonLog())
	return r
}

// haveEnded waits until services have ended by themselves: run returns before that when they take a moment to.
func (w *world) haveEnded(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.eventually(name+" has ended", func() bool { return !service.State(w.doc(0, "ps", name).Service.State).Active() })
	}
}

// doc runs hob with --json and decodes the document; code is the exit status expected.
func (w *world) doc(code int, args ...string) api.Document {
	w.t.Helper()
	r := w.hob(append([]string{"--json"}, args...)...)
	require.Equal(w.t, code, r.code, "hob %v: stdout %q stderr %q", args, r.stdout, r.stderr)
	var d api.Document
	require.NoError(w.t, json.Unmarshal([]byte(r.stdout), &d), r.stdout)
	return d
}

// failure runs hob with --json and decodes the error that it must end with.
func (w *world) failure(code int, args ...string) api.Error {
	w.t.Helper()
	r := w.hob(append([]string{"--json"}, args...)...)
	require.Equal(w.t, code, r.code, "hob %v: stdout %q stderr %q", args, r.stdout, r.stderr)
	var d api.ErrorDocument
	require.NoError(w.t, json.Unmarshal([]byte(r.stdout), &d), r.stdout)
	require.NotEmpty(w.t, d.Error.Message)
	return d.Error
}

// pid is the pid of the daemon, from its pid file; 0 when there is none.
func (w *world) pid() int {
	data, err := os.ReadFile(w.inst().Path(instance.PidName))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// daemonLog is hobd.log, for messages.
func (w *world) daemonLog() string {
	path := w.inst().Path(instance.DaemonLog)
	if !isRegular(path) {
		return "" // a test may have put a FIFO there
	}
	data, _ := os.ReadFile(path)
	return string(data)
}

// writeProgram writes what is executed then.
func writeProgram(path string, text []byte) error {
	return unforked(func() error { return os.WriteFile(path, text, 0o755) })
}

// unforked lets nothing be forked meanwhile: a child that has a program open for writing, until its own exec, would have the program's
// exec fail with ETXTBSY.
func unforked(write func() error) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return write()
}

func isRegular(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode().IsRegular()
}

// eventually polls until ok, and fails the test when it never is.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.Fail(w.t, "it never came: "+what, "log: %s", w.daemonLog())
		}
	}
}

// kill signals a process that this test's hob started.
func (w *world) kill(pid int, sig syscall.Signal) {
	w.t.Helper()
	require.Greater(w.t, pid, 1)
	require.NoError(w.t, syscall.Kill(pid, sig))
}

// starts counts how many daemons have served, by their logs.
func (w *world) starts() int { return strings.Count(w.daemonLog(), "msg=serving") }

// end stops every instance of the world and everything that carries its marks.
func (w *world) end() {
	entries, _ := filepath.Glob(filepath.Join(w.stateDir(), "instance-*.lock"))
	for _, lockFile := range entries {
		id := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(lockFile), "instance-"), ".lock")
		dir := strings.TrimSuffix(lockFile, ".lock")
		w.endDaemon(lockFile)
		if path := filepath.Join(dir, instance.DaemonLog); raced && isRegular(path) {
			log, _ := os.ReadFile(path)
			if bytes.Contains(log, []byte("DATA RACE")) {
				w.t.Errorf("hobd has a data race:\n%s", log)
			}
		}
		endMarked(w.t, id)
	}
}

// endDaemon ends whoever has the lock file open, the daemon or a client that starts one, and every sentry, which would
// start another daemon.
func (w *world) endDaemon(lockFile string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for quiet := 0; ctx.Err() == nil; {
		pids := append(openers(lockFile), w.sentries()...)
		if len(pids) > 0 {
			quiet = 0
		} else if quiet++; quiet == 2 { // one may have started the other between the two looks
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Errorf("somebody still has %s, or is a sentry", lockFile)
}

// sentries are the sentries of this world that run, of all its projects.
func (w *world) sentries() []int {
	var pids []int
	for _, pid := range processes() {
		path := fmt.Sprintf("/proc/%d/cmdline", pid)
		line, err := os.ReadFile(path)
		if args := strings.Split(string(line), "\x00"); err != nil || len(args) < 3 || args[1] != "sentry" {
			continue
		}
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if bytes.Contains(append([]byte{0}, env...), []byte("\x00HOB_STATE_DIR="+filepath.Dir(w.home)+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lockedBy waits until so many processes have the lock: a child of hobd has it open, too, between its fork and its exec.
func (w *world) lockedBy(n int) {
	w.t.Helper()
	path := w.inst().LockPath()
	w.eventually(fmt.Sprintf("%d processes have the lock", n), func() bool { return len(openers(path)) == n })
}

// lockedOnlyBy waits until that process has the lock, and nobody else.
func (w *world) lockedOnlyBy(pid int) {
	w.t.Helper()
	path := w.inst().LockPath()
	w.eventually(fmt.Sprintf("only pid %d has the lock", pid), func() bool { return slices.Equal(openers(path), []int{pid}) })
}

// openers are the processes that have the file open.
func openers(path string) []int {
	var pids []int
	for _, pid := range processes() {
		// One that was a child about to be executed may have been so until just now.
		if pid != os.Getpid() && hasOpen(pid, path) && !unexecuted(pid) && hasOpen(pid, path) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// unexecuted reports that a process is a child of this one between its fork and its exec: it has all that is open here, and whoever killed it would
// have the call fail that another test makes.
func unexecuted(pid int) bool {
	info, err := process.Stat(pid)
	if err != nil || info.PPid != os.Getpid() {
		return false
	}
	self, _ := os.Readlink("/proc/self/exe")
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return exe == self && !bytes.Contains(env, []byte("HOB_E2E_HELPER=")) // a helper is executed
}

// processes are the numbers of all, the dead included.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func hasOpen(pid int, path string) bool {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return false
	}
	defer dir.Close()
	fds, _ := dir.Readdirnames(-1)
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir.Name(), fd)); err == nil && strings.TrimSuffix(to, " (deleted)") == path {
			return true
		}
	}
	return false
}

// endMarked ends every process that carries a mark of the instance.
func endMarked(t *testing.T, id string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		found, err := process.FindMarked(id + "/")
		if err == nil && len(found) == 0 {
			return
		}
		for _, m := range found {
			_ = syscall.Kill(m.Pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			t.Errorf("processes of instance %s can't be ended: %v, %v", id, found, err)
			return
		}
	}
}

// children are the processes whose parent has that pid.
func children(pid int) []int {
	var all []int
	for _, p := range processes() {
		if info, err := process.Stat(p); err == nil && info.PPid == pid {
			all = append(all, p)
		}
	}
	return all
}
