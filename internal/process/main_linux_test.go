package process

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary plays the processes of a tree: with this variable set it is a helper, not a test.
const helperEnv = "PROCESS_TEST_HELPER"

// patience bounds every wait for something that must happen. No test asserts how long anything takes.
const patience = 30 * time.Second

var helpers = map[string]func(){
	"node":     playNode,
	"via":      playVia,
	"reaper":   playReaper,
	"alone":    playAlone,
	"unthread": playUnthread,
	"step":     playStep,
	"busy":     playBusy,
	"first":    playFirst,
	"second":   playSecond,
}

// helperUsed is filled by the tests: a helper that nobody calls is dead code, and fails.
var helperUsed sync.Map

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		time.AfterFunc(4*patience, func() { os.Exit(99) }) // nothing outlives a broken test for long
		helpers[name]()
		os.Exit(0)
	}
	closeOnExec()
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == "" && !testing.Short() {
		for name := range helpers {
			if _, ok := helperUsed.Load(name); !ok {
				fmt.Fprintf(os.Stderr, "helper %q is not used\n", name)
				code = 1
			}
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// closeOnExec does for what the tests inherited, from whoever runs them, what Go does for what it opens.
func closeOnExec() {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if n, err := strconv.Atoi(fd.Name()); err == nil && n > 2 {
			unix.CloseOnExec(n)
		}
	}
}

// node is one process of a tree under test. It writes its pid to the file Name of the directory once its kids have.
type node struct {
	Name       string
	IgnoreTerm bool
	Setsid     bool   // in a session of its own
	Orphan     bool   // started by a process that exits at once
	NoMark     bool   // started without the mark
	NoLock     bool   // closes what it inherited at LockDescriptor
	Instance   bool   // holds the lock of an instance
	NoReap     bool   // does not wait for its kids
	Exit       int    // exit status when told by SIGUSR1
	Hold       string // a file to keep open for reading
	Kids       []node
}

func (n node) args(helper, dir string) (args, env []string) {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	for _, kv := range os.Environ() {
		if n.NoMark && len(kv) > len(MarkName) && kv[:len(MarkName)+1] == MarkName+"=" {
			continue
		}
		env = append(env, kv)
	}
	return []string{"node", dir, string(b)}, append(env, helperEnv+"="+helper, "GOMAXPROCS=1")
}

func playNode() {
	var n node
	dir := os.Args[1]
	must(json.Unmarshal([]byte(os.Args[2]), &n))
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, unix.SIGUSR1)
	if n.IgnoreTerm {
		signal.Notify(make(chan os.Signal, 1), unix.SIGTERM)
	}
	if n.NoLock {
		_ = unix.Close(LockDescriptor)
	}
	if n.Instance {
		_, err := os.Create(filepath.Join(dir, "instance-0123456789abcdef.lock"))
		must(err)
	}
	if n.Hold != "" {
		_, err := unix.Open(n.Hold, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		must(err)
	}
	for _, kid := range n.Kids {
		kid.start(dir, n.NoReap)
	}
	must(os.WriteFile(filepath.Join(dir, n.Name+".tmp"), []byte(strconv.Itoa(os.Getpid())), 0o600))
	must(os.Rename(filepath.Join(dir, n.Name+".tmp"), filepath.Join(dir, n.Name)))
	<-usr1
	os.Exit(n.Exit)
}

func (n node) start(dir string, noReap bool) {
	helper := "node"
	if n.Orphan {
		helper = "via"
	}
	args, env := n.args(helper, dir)
	cmd := exec.Command("/proc/self/exe", args[1:]...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: n.Setsid}
	must(cmd.Start())
	switch {
	case n.Orphan:
		must(cmd.Wait())
	case !noReap:
		go cmd.Wait()
	}
	for !exists(filepath.Join(dir, n.Name)) {
		time.Sleep(time.Millisecond)
	}
}

// playVia starts a node and exits: the node is an orphan then.
func playVia() {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), helperEnv+"=node")
	must(cmd.Start())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// grown is a started tree of nodes.
type grown struct {
	*Process
	dir string
	ids map[string]ID
}

// grow starts n as a leader and returns when all of its tree is there. What is left of it at the end of the test is killed.
func grow(t *testing.T, n node, s Spec) grown {
	t.Helper()
	dir := t.TempDir()
	args, env := n.args("node", dir)
	helperUsed.Store("node", true)
	s.Path, s.Args, s.Env = self(t), args, env
	p, err := Start(s)
	require.NoError(t, err)
	t.Cleanup(func() { end(t, p) })
	g := grown{Process: p, dir: dir, ids: map[string]ID{}}
	n.collect(t, g)
	return g
}

func (n node) collect(t *testing.T, g grown) {
	t.Helper()
	if n.Orphan {
		helperUsed.Store("via", true)
	}
	g.ids[n.Name] = idIn(t, filepath.Join(g.dir, n.Name))
	for _, kid := range n.Kids {
		kid.collect(t, g)
	}
}

// idIn waits for a file with a pid and sees to it that the process is killed at the end of the test.
func idIn(t *testing.T, file string) ID {
	t.Helper()
	eventually(t, func() bool { return exists(file) }, "no file %s", file)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(b))
	require.NoError(t, err)
	id, err := Identify(pid)
	require.NoError(t, err)
	t.Cleanup(func() { killID(id) })
	return id
}

func killID(id ID) {
	h, err := openHandle(id.Pid)
	if err != nil {
		return
	}
	defer h.close()
	if id.Alive() {
		_ = h.signal(unix.SIGKILL)
	}
}

func (g grown) names(infos []Info) []string {
	names := []string{}
	for _, info := range infos {
		name := fmt.Sprintf("pid %d (%s)", info.Pid, info.Command)
		for n, id := range g.ids {
			if id.Pid == info.Pid && id.Start == info.Start {
				name = n
			}
		}
		names = append(names, name)
	}
	return names
}

// end kills a leader and reaps it.
func end(t *testing.T, p *Process) {
	if !p.isReleased() {
		_ = p.SignalGroup(unix.SIGKILL)
		_ = p.Signal(unix.SIGKILL) // should it not lead its group
		waitDone(t, p)
	}
	require.NoError(t, p.Release())
}

func waitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		require.FailNow(t, "never done: "+p.String())
	}
}

// eventually polls until ok, within patience.
func eventually(t *testing.T, ok func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "never came: "+fmt.Sprintf(format, args...))
		}
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// start runs a program found on the PATH of the test; it is killed at the end.
func start(t *testing.T, s Spec, args ...string) *Process {
	t.Helper()
	s.Env = append(s.Env, "PATH="+os.Getenv("PATH"))
	path, err := LookPath(args[0], "/", s.Env)
	require.NoError(t, err)
	s.Path, s.Args = path, args
	p, err := Start(s)
	require.NoError(t, err)
	t.Cleanup(func() { end(t, p) })
	return p
}

// writeProgram writes an executable file. No other test may fork meanwhile: its child would have the file open for
// writing until execve, and to execute it would be "text file busy" (golang/go#22315).
func writeProgram(t *testing.T, path, text string) string {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

// create makes an empty file, open until the end of the test.
func create(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func holders(t *testing.T, files ...*os.File) Holders {
	t.Helper()
	var h Holders
	for _, f := range files {
		id, err := FileIDOf(f)
		require.NoError(t, err)
		h.Files = append(h.Files, id)
	}
	return h
}
