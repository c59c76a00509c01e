//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// example makes the project a copy of the files, but that they let their server be idle for a second only, where they say idle.
func (w *world) example(dir, idle string, names ...string) {
	w.t.Helper()
	found := false
	for _, name := range names {
		path := filepath.Join("../examples", dir, name)
		text, err := os.ReadFile(path)
		require.NoError(w.t, err)
		fi, err := os.Stat(path)
		require.NoError(w.t, err)
		found = found || strings.Contains(string(text), idle)
		quick := strings.ReplaceAll(string(text), idle, "1s")
		require.NoError(w.t, unforked(func() error {
			return os.WriteFile(filepath.Join(w.project, name), []byte(quick), fi.Mode().Perm())
		}))
	}
	require.True(w.t, found, "nothing says %s", idle)
}

// program is a call of one of the project's files.
func (w *world) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.project, name), args...)
	cmd.Dir, cmd.Env = w.project, w.environ()
	return cmd
}

// hold connects to the service and stays, so that it is not idle before the test says so.
func (w *world) hold(name string, command ...string) (release func()) {
	w.t.Helper()
	cmd := w.command(append([]string{"connect", name, "--idle", "1s", "--"}, command...)...)
	stdin, err := cmd.StdinPipe()
	require.NoError(w.t, err)
	f := w.start(cmd)
	w.eventually(name+" is there", func() bool { return w.list()[name].Pid != 0 })
	return func() {
		w.t.Helper()
		require.NoError(w.t, stdin.Close())
		require.Zero(w.t, f.wait(), f.stderr.String())
		require.Empty(w.t, f.text()+f.stderr.String())
	}
}

func needPython(t *testing.T) {
	t.Helper()
	absent(t, "Python 3", exec.Command("python3", "-c", "import asyncio").Run())
}

// greeting is what server.py answers.
var greeting = regexp.MustCompile(`^hello, (\w+): greeting (\d+) of pid (\d+)\n$`)

// TestPythonExampleStartsOneServer: however many call at once, one server greets them all; then it is gone, until somebody calls again.
func TestPythonExampleStartsOneServer(t *testing.T) {
	t.Parallel()
	needPython(t)
	w := newWorld(t)
	w.example("python", "10s", "server.py", "greet.py")
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	require.NoError(t, err)
	release := w.hold("greet", strings.TrimSpace(string(python)), filepath.Join(w.project, "server.py"))
	const callers = 8
	counts, pids := map[string]bool{}, map[string]bool{}
	for i, r := range w.atOnce(callers, func(i int) *exec.Cmd { return w.program("greet.py", fmt.Sprintf("caller%d", i)) }) {
		require.Zero(t, r.code, r.stderr)
		require.Empty(t, r.stderr)
		m := greeting.FindStringSubmatch(r.stdout)
		require.NotNil(t, m, r.stdout)
		require.Equal(t, fmt.Sprintf("caller%d", i), m[1])
		counts[m[2]], pids[m[3]] = true, true
	}
	require.Len(t, counts, callers)
	require.Len(t, pids, 1)
	require.Equal(t, 1, w.list()["greet"].Generation)
	release()
	w.isIdle("greet")
	require.Zero(t, w.list()["greet"].Exit.Code, "it leaves in good order")

	r := w.run(w.program("greet.py", "again"))
	require.Zero(t, r.code, r.stderr)
	m := greeting.FindStringSubmatch(r.stdout)
	require.NotNil(t, m, r.stdout)
	require.Equal(t, "1", m[2], "it is another one")
	require.NotContains(t, pids, m[3])
	w.isIdle("greet")
}

// TestPythonServerOfAFile: hob up makes the socket, the first connection starts the server, and it gets that very socket.
func TestPythonServerOfAFile(t *testing.T) {
	t.Parallel()
	needPython(t)
	w := newWorld(t)
	w.example("python", "10s", "server.py", "hob.toml")
	w.ok("up")
	require.Equal(t, "idle", w.list()["greetd"].State)
	require.Zero(t, w.list()["greetd"].Generation)

	c, err := net.Dial("unix", filepath.Join(w.project, ".run/greet.sock"))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, "Ada\n")
	require.NoError(t, err)
	m := greeting.FindStringSubmatch(reply(t, c))
	require.NotNil(t, m)
	require.Equal(t, fmt.Sprint(w.list()["greetd"].Pid), m[3])

	cmd := w.command("connect", "greetd")
	cmd.Stdin = strings.NewReader("Bob\n")
	r := w.run(cmd)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, "hello, Bob: greeting 2 of pid "+m[3]+"\n", r.stdout)
	require.NoError(t, c.Close())
	w.isIdle("greetd")
	w.ok("down")
}

// TestPythonServerByHand: without hob it makes its own socket, and a SIGTERM comes after the answers.
func TestPythonServerByHand(t *testing.T) {
	t.Parallel()
	needPython(t)
	w := newWorld(t)
	w.example("python", "10s", "server.py", "hob.toml")
	w.env = append(w.env, "LISTEN_FDS=1", "LISTEN_PID=1") // meant for somebody else
	server := w.start(w.program("server.py", "127.0.0.1:0"))
	port := regexp.MustCompile(`port (\d+)\n`)
	w.eventually("it listens", func() bool { return port.MatchString(server.stdout.String()) })
	c, err := net.Dial("tcp", "127.0.0.1:"+port.FindStringSubmatch(server.stdout.String())[1])
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, "Ada\n")
	require.NoError(t, err)
	require.Regexp(t, greeting, reply(t, c))
	_, err = io.WriteString(c, "Bob\n")
	require.NoError(t, err)
	require.NoError(t, server.cmd.Process.Signal(syscall.SIGTERM))
	require.Regexp(t, `^(hello, Bob: greeting 2 .*\n)?$`, rest(t, c)) // it may not have come yet
	require.Zero(t, server.wait(), server.stderr.String())
	require.Empty(t, server.stderr.String())
}

// TestShellExampleRemembers: what one shell says another one is told, by one server; when that is gone, all is forgotten.
func TestShellExampleRemembers(t *testing.T) {
	t.Parallel()
	absent(t, "Perl", exec.Command("perl", "-MIO::Socket", "-e1").Run())
	w := newWorld(t)
	w.example("shell", "10m", "memo", "memo.pl")
	memo := func(args ...string) string {
		t.Helper()
		r := w.run(w.program("memo", args...))
		require.Zero(t, r.code, r.stderr)
		require.Empty(t, r.stderr)
		return r.stdout
	}
	release := w.hold("memo", "perl", filepath.Join(w.project, "memo.pl"))
	var all strings.Builder
	for i, r := range w.atOnce(8, func(i int) *exec.Cmd {
		return w.program("memo", fmt.Sprintf("key%d", i), "some  words of", fmt.Sprint(i))
	}) {
		require.Zero(t, r.code, r.stderr)
		require.Empty(t, r.stdout+r.stderr)
		fmt.Fprintf(&all, "key%d: some  words of %[1]d\n", i)
	}
	require.Equal(t, all.String(), memo())
	require.Equal(t, "some  words of 3\n", memo("key3"))
	require.Empty(t, memo("nothing"))
	require.Equal(t, 1, w.list()["memo"].Generation)
	release()
	w.isIdle("memo")
	require.Empty(t, memo())
	require.Equal(t, 2, w.list()["memo"].Generation)
}
