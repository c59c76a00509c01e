//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/tty"
)

// TestConnectIsAWire: what goes in comes out, however it is cut; the end of stdin is only half of it; and the service's end
// is that of connect, also while stdin stays open.
func TestConnectIsAWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	srv := w.lineServer("-slow", "200ms")
	for i := range 2 {
		cmd := w.command(append([]string{"connect", "web", "--idle", "1m", "--"}, srv...)...)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("hello%d\n", i)) // its end is there before the answer is
		r := w.run(cmd)
		require.Zero(t, r.code, r.stderr)
		require.Empty(t, r.stderr)
		require.Regexp(t, fmt.Sprintf(`^\d+ hello%d\n$`, i), r.stdout)
	}
	require.Equal(t, 1, w.doc(0, "ps", "web").Service.Generation, "the same line finds the one that runs")
	cmd := w.command("connect", "web")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	_, err = io.WriteString(in, "open\n")
	require.NoError(t, err)
	require.Regexp(t, `^\d+ open\n$`, w.run(cmd).stdout)
	cmd = w.command(append([]string{"connect", "web", "--"}, w.lineServer()...)...)
	require.Contains(t, w.run(cmd).stderr, "another command has that name")
	w.ok("stop", "web")
	cmd = w.command("connect", "web")
	cmd.Stdin = strings.NewReader("started\n")
	require.Regexp(t, `^\d+ started\n$`, w.run(cmd).stdout, "a stopped one is started")
}

// TestConnectCarriesMuch: 64 MB each way at once, byte for byte, through a socket that was passed and through a proxy.
func TestConnectCarriesMuch(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3: ", err)
	}
	w := newWorld(t)
	w.write("echo.py", `import os, socket, sys
if len(sys.argv) > 1:
    l = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
else:
    l = socket.socket(fileno=3)
while True:
    c, _ = l.accept()
    while True:
        d = c.recv(1 << 16)
        if not d: break
        c.sendall(d)
    c.close()
`)
	data := make([]byte, 64<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	for _, args := range [][]string{{"connect", "plain", "--", "python3", "echo.py"}, {"connect", "proxied", "--proxy", "--", "python3", "echo.py", "own"}} {
		cmd := w.command(args...)
		cmd.Stdin = bytes.NewReader(data)
		r := w.run(cmd)
		require.Zero(t, r.code, r.stderr)
		require.True(t, bytes.Equal(data, []byte(r.stdout)), "%v: %d bytes, not %d", args, len(r.stdout), len(data))
	}
}

// TestConnectSaysWhatIsWrong: at once, with the service's last words, and never by hanging.
func TestConnectSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(w.command("connect", "bad", "--", "sh", "-c", "echo no database >&2; exit 4"))
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "    no database\n")
	require.Contains(t, r.stderr, `hob: service "bad": exit 4`)
	e := w.failure(4, "connect", "nope")
	require.Equal(t, api.CodeNoSuchService, e.Code)
	w.ok("run", "mute", "--", "sleep", "1000")
	require.Equal(t, api.CodeNoAddress, w.failure(1, "connect", "mute").Code)
	require.Equal(t, api.CodeNoAddress, w.failure(1, "sock", "mute").Code)
	require.Equal(t, api.CodeNoTerminal, w.failure(1, "attach", "mute").Code)
	w.ok("run", "--tty", "lost", "--", "sleep", "1000")
	w.ok("run", "--replace", "lost", "--", "sleep", "1000")
	require.Equal(t, api.CodeNoTerminal, w.failure(1, "attach", "lost").Code)
	// One that was there and fails for good while somebody waits to be accepted; not for one that is tried again.
	w.write("hob.toml", "[services.third]\nrun = [\"sh\", \"-c\", \"sleep 0.5; echo >>tries; [ $(wc -l <tries) = 3 ] && exec "+filepath.Join(w.bin, "lineserver")+"; exit 5\"]\nlisten = \"unix:third.sock\"\n")
	cmd := w.command("connect", "third")
	cmd.Stdin = strings.NewReader("hello\n")
	require.Regexp(t, `^\d+ hello\n$`, w.run(cmd).stdout)
	w.write("hob.toml", "[services.late]\nrun = [\"sh\", \"-c\", \"sleep 0.5; echo no more; exit 5\"]\nlisten = \"unix:late.sock\"\n")
	r = w.run(w.command("connect", "late"))
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "    no more\n")
	require.Contains(t, r.stderr, `service "late": exit 5`)
}

// TestConnectBringsAServiceUp: one that the file has and nobody has started, with what it needs.
func TestConnectBringsAServiceUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := `"` + strings.Join(w.lineServer(), `", "`) + `"`
	w.write("hob.toml", fmt.Sprintf("[services.db]\nrun = [\"sleep\", \"1000\"]\n[services.web]\nrun = [%s]\nlisten = \"unix:web.sock\"\nidle = \"1m\"\nneeds = [\"db\"]\n", cmd))
	c := w.command("connect", "web")
	c.Stdin = strings.NewReader("hello\n")
	r := w.run(c)
	require.Regexp(t, `^\d+ hello\n$`, r.stdout, r.stderr)
	require.Equal(t, "running", w.doc(0, "ps", "db").Service.State)
}

// TestSockPrintsTheAddress: for people and for programs, and starts nothing that the first connection would.
func TestSockPrintsTheAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	args := append([]string{"sock", "web", "--idle", "1m", "--"}, w.lineServer()...)
	text := strings.TrimSpace(w.ok(args...).stdout)
	path, ok := strings.CutPrefix(text, "unix:")
	require.True(t, ok, text)
	require.Equal(t, "idle", w.doc(0, "ps", "web").Service.State)
	var d api.SockDocument
	require.NoError(t, json.Unmarshal([]byte(w.ok(append([]string{"--json"}, args...)...).stdout), &d))
	require.Equal(t, api.SockDocument{V: 1, Service: "web", Network: "unix", Address: path}, d)
	require.Equal(t, text+"\n", w.ok("sock", "web").stdout)
	first, err := ask("unix", path, "a")
	require.NoError(t, err)
	require.Equal(t, text+"\n", w.ok(args...).stdout)
	second, err := ask("unix", path, "b")
	require.NoError(t, err)
	require.Equal(t, first, second)
	addr := freePort(t)
	require.Equal(t, addr+"\n", w.ok(append([]string{"sock", "tcp", "--listen", addr, "--"}, w.lineServer()...)...).stdout)
	require.Equal(t, "running", w.doc(0, "ps", "tcp").Service.State, "without idle it runs")
	_, err = ask("tcp", addr, "c")
	require.NoError(t, err)
	require.Equal(t, addr, w.doc(0, "ps", "tcp").Service.Addr)
}

// TestSockFindsWhereACommandListens: one that listens by itself, on a port or a path of its own choice, is found, and joined; through
// the death of hobd, too.
func TestSockFindsWhereACommandListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	port, path := freePort(t), filepath.Join(w.project, "own.sock")
	_, number, _ := strings.Cut(port, ":")
	for name, place := range map[string][3]string{
		"tcp": {port, "tcp", port}, "any": {"0.0.0.0:" + number, "tcp", port}, "unix": {path, "unix", path},
	} {
		args := append([]string{"sock", name, "--find", "--"}, w.lineServer("-listen", place[0])...)
		want := place[2] + "\n"
		if place[1] == "unix" {
			want = "unix:" + want
		}
		require.Equal(t, want, w.ok(args...).stdout)
		require.Equal(t, want, w.ok(args...).stdout)
		s := w.doc(0, "ps", name).Service
		require.Equal(t, []any{"ready", 1, strings.TrimSpace(want)}, []any{s.State, s.Generation, s.Addr})
		w.kill(w.pid(), syscall.SIGKILL)
		c := w.command("connect", name)
		c.Stdin = strings.NewReader("hello\n")
		require.Equal(t, fmt.Sprintf("%d hello\n", s.Pid), w.run(c).stdout)
		w.ok("stop", name)
	}
	r := w.run(w.command("sock", "bad", "--find", "--", "sh", "-c", "echo nowhere; exit 3"))
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, `service "bad": exit 3`)
	require.Equal(t, api.CodeUsage, w.failure(2, "sock", "x", "--find", "--idle", "1s", "--", "true").Code)
}

// person is somebody at a terminal.
type person struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *tty.Terminal
	view *tty.Attachment
	seen string        // since what was waited for last
	all  string        // from the beginning
	done chan struct{} // closed when hob has ended
}

// sit starts hob on a terminal of its own.
func (w *world) sit(args ...string) *person {
	w.t.Helper()
	return w.seat(w.command(args...))
}

// seat starts any command on a terminal of its own.
func (w *world) seat(cmd *exec.Cmd) *person {
	w.t.Helper()
	term, slave, err := tty.Open()
	require.NoError(w.t, err)
	defer slave.Close()
	require.NoError(w.t, term.Resize(33, 99))
	p := &person{t: w.t, cmd: cmd, tty: term, view: term.Attach(), done: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Env, "TERM=xterm")
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(w.t, p.cmd.Start())
	go func() { _ = term.Pump(io.Discard) }()
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		p.view.Close()
		term.Close()
	})
	return p
}

// sees waits until the text has come.
func (p *person) sees(text string) {
	p.t.Helper()
	late := time.After(patience)
	for !strings.Contains(p.seen, text) {
		select {
		case data, open := <-p.view.C():
			require.True(p.t, open, "seen: %q, waiting for %q", p.seen, text)
			p.seen += string(data)
			p.all += string(data)
		case <-late:
			require.Fail(p.t, "it never came", "seen: %q, waiting for %q", p.seen, text)
		}
	}
	_, p.seen, _ = strings.Cut(p.seen, text)
}

func (p *person) types(text string) {
	p.t.Helper()
	_, err := io.WriteString(p.tty, text)
	require.NoError(p.t, err)
}

// leaves waits for the end of hob.
func (p *person) leaves(code int) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		require.Fail(p.t, "hob does not leave", "seen: %q", p.seen)
	}
	require.Equal(p.t, code, p.cmd.ProcessState.ExitCode())
}

// everything is all that was shown, of a hob that has left.
func (p *person) everything() string {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case data, open := <-p.view.C():
			if !open {
				return p.all
			}
			p.all += string(data)
		case <-late:
			require.Fail(p.t, "somebody still has the terminal", "seen: %q", p.all)
		}
	}
}

// TestAttach: what is typed reaches the service, what it writes is seen and is in its log, with plain line ends; the size is that of the
// person's terminal; detaching leaves it running, and so does the death of hobd.
func TestAttach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "--tty", "shell", "--", "sh", "-c", `test -t 0 && test -t 1 && echo a terminal; while read -r x; do case $x in size) stty size;; bye) exit 7;; *) echo "got $x";; esac; done`)
	p := w.sit("attach", "shell")
	p.sees("a terminal\r\n")
	p.types("hello\n")
	p.sees("got hello\r\n")
	p.types("size\n")
	p.sees("33 99\r\n")
	require.NoError(t, p.tty.Resize(20, 50)) // and the kernel sends SIGWINCH
	w.eventually("the size is passed on", func() bool {
		p.types("size\n")
		p.sees("\r\n") // the echo
		p.sees("\r\n")
		return strings.Contains(w.ok("logs", "shell", "-n", "1").stdout, "20 50")
	})
	pid := w.doc(0, "ps", "shell").Service.Pid
	w.kill(w.pid(), syscall.SIGKILL)
	w.eventually("there is another hobd", func() bool { return w.doc(0, "ps", "shell").Service.Adopted == 1 })
	w.eventually("what is typed reaches it again", func() bool { // what is typed before hob has seen that its hobd is gone may be lost
		p.types("still\n")
		return strings.Contains(w.ok("logs", "shell").stdout, "got still")
	})
	p.sees("got still\r\n")
	p.types("\x1c\x1c")
	p.sees("detached")
	p.leaves(0)
	s := w.doc(0, "ps", "shell").Service
	require.Equal(t, []any{"running", pid}, []any{s.State, s.Pid})
	require.Contains(t, w.ok("logs", "shell").stdout, "\ngot hello\n")
	log, err := os.ReadFile(filepath.Join(w.inst().Path("log", "shell"), firstSegment(t, w.inst().Path("log", "shell"))))
	require.NoError(t, err)
	require.NotContains(t, string(log), "\r\n")
	p = w.sit("attach", "shell")
	p.sees("got still\r\n") // it is attached, and so to this run and not to the next one
	p.types("bye\n")
	p.sees("shell: failed (exit 7)")
	p.leaves(0)
	p = w.sit("run", "--tty", "--wait", "once", "--", "sh", "-c", "echo go on; read x; exit 9")
	p.sees("go on\r\n")
	p.types("\n")
	p.leaves(9)
}

// firstSegment is the name of the log's first file of lines.
func firstSegment(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			return e.Name()
		}
	}
	require.Fail(t, "no segment", "%v", entries)
	return ""
}

// TestATerminalSurvivesItsDaemon: it does not hang up when hobd is killed, nor when it is replaced.
func TestATerminalSurvivesItsDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("hob.toml", "[services.repl]\nrun = [\"sh\", \"-c\", \"trap 'echo hung up' HUP; while :; do echo tick; sleep 0.05; done\"]\ntty = true\n")
	w.ok("up")
	pid := w.doc(0, "ps", "repl").Service.Pid
	for i := range 4 {
		old := w.pid()
		if i%2 == 0 {
			w.kill(old, syscall.SIGKILL)
		} else {
			w.ok("daemon", "restart")
		}
		w.eventually("there is another hobd", func() bool { p := w.pid(); return p != 0 && p != old })
		w.ok("wait", "repl", "--for", "ready")
		lines := strings.Count(w.ok("logs", "repl", "-n", "100000").stdout, "tick\n")
		w.eventually("it goes on", func() bool { return strings.Count(w.ok("logs", "repl", "-n", "100000").stdout, "tick\n") > lines+2 })
	}
	require.Equal(t, pid, w.doc(0, "ps", "repl").Service.Pid)
	require.NotContains(t, w.ok("logs", "repl", "-n", "100000").stdout, "hung up")
}
