//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/process"
)

// connect connects to the daemon's socket, by a path short enough for any client.
func (w *world) connect() net.Conn {
	w.t.Helper()
	c, err := net.Dial("unix", w.inst().Path(instance.SocketName))
	require.NoError(w.t, err)
	require.NoError(w.t, c.SetDeadline(time.Now().Add(patience)))
	w.t.Cleanup(func() { c.Close() })
	return c
}

// reply reads until there is a whole line, or the daemon closed the connection.
func reply(t *testing.T, c net.Conn) string {
	t.Helper()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		closed(t, err)
	}
	return line
}

// rest reads until the daemon closes the connection.
func rest(t *testing.T, c net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(c)
	if err != nil {
		closed(t, err)
	}
	return string(text)
}

func closed(t *testing.T, err error) {
	t.Helper()
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err)
}

// TestBadInputCostsItsConnectionOnly: whatever comes in at the socket is answered with an error
// or a closed connection; the daemon and its services go on.
func TestBadInputCostsItsConnectionOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid := w.doc(0, "ps", "web").Service.Pid
	before, err := process.Stat(w.pid())
	require.NoError(t, err)
	huge := func(c net.Conn) {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 100 {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	cases := []struct {
		name   string
		send   func(net.Conn)
		expect string // a part of the answer; "" for a closed connection
		goesOn bool   // the connection is not closed
	}{
		{"a frame of 100 MB", huge, "", false},
		{"a header of 100 MB", say("Content-Length: 104857600\r\n\r\n"), "-32600", false},
		{"a negative header", say("Content-Length: -1\r\n\r\n{}"), "-32", false},
		{"a header that is no number", say("Content-Length: x\r\n\r\n{}"), "is not one length", false},
		{"a header without end", say("Content-Length: 2\r\n" + strings.Repeat("X: y\r\n", 5000)), "longer than 4096 bytes", false},
		{"an HTTP request", say("GET / HTTP/1.1\r\nHost: hob\r\n\r\n"), "has a Content-Length header", false},
		{"a TLS hello", say("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n"), "-32700", false},
		{"NULs", say(strings.Repeat("\x00", 100) + "\n"), "-32700", false},
		{"a string", say("\"hob.status\"\n"), "not an object", false},
		{"an id that is an object", say(`{"jsonrpc":"2.0","id":{},"method":"hob.status"}` + "\n"), "id is not a string or an integer", false},
		{"a method that is a number", say(`{"jsonrpc":"2.0","id":1,"method":7}` + "\n"), "method is not a string", false},
		{"a protocol that is a string", say(`{"jsonrpc":"2.0","id":1,"method":"hob.hello","params":{"protocol":"2"}}` + "\n"), "-32602", true},
		{"invalid JSON", say("{\"jsonrpc\": nonsense}\n"), "-32700", false},
		{"binary", say("\x00\x01\x02\xff\xfe\n"), "-32700", false},
		{"a batch", say(`[{"jsonrpc":"2.0","id":1,"method":"hob.status"}]` + "\n"), "batch", false},
		{"neither request nor answer", say(`{"jsonrpc":"2.0"}` + "\n"), "-32600", false},
		{"deep", say(strings.Repeat("[", 60000) + "\n"), "-32", false},
		{"an unknown method", say(`{"jsonrpc":"2.0","id":1,"method":"no.such"}` + "\n"), "no such method", true},
		{"params of another shape", say(`{"jsonrpc":"2.0","id":1,"method":"service.run","params":[1]}` + "\n"), "-32602", true},
		{"a hostile name", say(`{"jsonrpc":"2.0","id":1,"method":"service.run","params":{"name":"../x","cmd":["true"],"dir":"/"}}` + "\n"), "usage", true},
		{"no command", say(`{"jsonrpc":"2.0","id":1,"method":"service.run","params":{"name":"x","cmd":[],"dir":"/"}}` + "\n"), "usage", true},
		{"a NUL in the environment", say(`{"jsonrpc":"2.0","id":1,"method":"service.run","params":{"name":"x","cmd":["true"],"dir":"/","env":["A=\u0000"]}}` + "\n"), "usage", true},
	}
	for _, c := range cases {
		conn := w.connect()
		c.send(conn)
		read := rest
		if c.goesOn {
			read = reply
		}
		if answer := read(t, conn); c.expect != "" {
			require.Contains(t, answer, c.expect, c.name)
		}
		conn.Close()
		w.ok("daemon", "ping")
	}
	after, err := process.Stat(w.pid())
	require.NoError(t, err)
	require.Equal(t, before.Start, after.Start, "the same daemon")
	require.Less(t, after.RSS, before.RSS+(200<<20), "memory of the daemon")
	require.Equal(t, pid, w.doc(0, "ps", "web").Service.Pid)
	entries, err := filepath.Glob(w.inst().Path("state", "*.json"))
	require.NoError(t, err)
	require.Len(t, entries, 1, "a refused service leaves nothing")
}

// TestHalfAFrame: a client that stops in the middle of its message keeps nobody from being
// served.
func TestHalfAFrame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	for range 50 {
		_, err := io.WriteString(w.connect(), `{"jsonrpc":"2.0","id":1,"met`)
		require.NoError(t, err)
	}
	w.ok("daemon", "ping", next)
}

// TestSilentConnections: ten thousand connections that say nothing. hob is served all the same,
// and when they are gone the daemon has as many descriptors as before.
func TestSilentConnections(t *testing.T) {
	n := 10_000
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < uint64(n)+200 {
		n = int(limit.Cur) - 200
	}
	w := newWorld(t)
	w.ok("daemon", "start")
	descriptors := func() int {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid()))
		require.NoError(t, err)
		return len(fds)
	}
	before := descriptors()
	conns := make([]net.Conn, 0, n)
	closeAll := func() {
		for _, c := range conns {
			c.Close()
		}
	}
	t.Cleanup(closeAll)
	for len(conns) < n {
		c, err := net.Dial("unix", w.inst().Path(instance.SocketName))
		require.NoError(t, err)
		conns = append(conns, c)
		if len(conns)%1000 == 0 {
			w.ok("daemon", "ping", next)
		}
	}
	closeAll()
	w.eventually("descriptors come back", func() bool { return descriptors() <= before+2 })
	require.EqualValues(t, 1, w.attempts())
}

// TestBothFramings: a line is answered with a line, Content-Length with Content-Length.
func TestBothFramings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	request := `{"jsonrpc":"2.0","id":7,"method":"hob.status"}`

	line := w.connect()
	fmt.Fprintf(line, "%s\n", request)
	var answer struct {
		ID     int            `json:"id"`
		Result map[string]any `json:"result"`
	}
	require.NoError(t, json.Unmarshal([]byte(reply(t, line)), &answer))
	require.Equal(t, 7, answer.ID)
	require.EqualValues(t, w.pid(), answer.Result["pid"])

	header := w.connect()
	fmt.Fprintf(header, "Content-Length: %d\r\n\r\n%s", len(request), request)
	r := bufio.NewReader(header)
	first, err := r.ReadString('\n')
	require.NoError(t, err)
	var size int
	_, err = fmt.Sscanf(first, "Content-Length: %d\r\n", &size)
	require.NoError(t, err, first)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	body := make([]byte, size)
	_, err = io.ReadFull(r, body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(body, &answer))
	require.Equal(t, 7, answer.ID)
}

// TestUpRefusesAnEnvironmentBeforeItEndsAnything: no process could be executed with it.
func TestUpRefusesAnEnvironmentBeforeItEndsAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = 'sleep 1000'\n")
	w.ok("up")
	pid := w.list()["web"].Pid
	w.toml("[services.web]\nrun = 'sleep 1001'\n")
	conn, err := w.contact(true)
	require.NoError(t, err)
	defer conn.Close()
	for _, kv := range []string{"A=\x00B", "A=" + strings.Repeat("x", 1<<20)} {
		_, err = api.ProjectUp.Call(t.Context(), conn, api.UpParams{Env: []string{kv}})
		e, ok := errors.AsType[*ipc.Error](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, "usage", e.Data.Code, e.Message)
	}
	require.Equal(t, pid, w.list()["web"].Pid)
	_, err = api.ServiceStart.Call(t.Context(), conn, api.NamesParams{Names: make([]string, 20_000)})
	require.ErrorContains(t, err, "20000 names at once")
}

// TestClientsOfTheDocs runs the two clients with which docs/protocol.md opens, and that of docs/other-languages.md.
func TestClientsOfTheDocs(t *testing.T) {
	t.Parallel()
	docs, err := filepath.Abs("../docs/clients")
	require.NoError(t, err)
	for _, c := range []struct {
		file  string
		probe []string // tells whether the interpreter can run it
		run   []string
	}{
		{"client.js", []string{"node", "--version"}, []string{"node"}},
		{"client.lua", []string{"lua5.4", "-e", `require "socket.unix"`}, []string{"lua5.4"}},
		{"client.py", []string{"python3", "--version"}, []string{"python3"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			if exec.Command(c.probe[0], c.probe[1:]...).Run() != nil {
				t.Skipf("%v does not run here", c.probe)
			}
			w := newWorld(t)
			call := func(args ...string) string {
				cmd := exec.Command(c.run[0], append([]string{filepath.Join(docs, c.file)}, args...)...)
				cmd.Dir, cmd.Env = w.project, w.environ()
				r := w.run(cmd)
				require.Zero(t, r.code, r.stderr)
				return r.stdout
			}
			require.Contains(t, call("hob.status"), w.inst().ID)
			run := fmt.Sprintf(`{"name":"web","cmd":["sleep","1000"],"dir":%q,"env":["PATH=/usr/bin:/bin"]}`, w.project)
			require.Regexp(t, `"state": ?"running"`, call("service.run", run))
			require.Contains(t, call("service.list"), `"web"`)
			if c.file == "client.py" { // as a tool should, it fails
				return
			}
			require.Contains(t, call("no.such"), "no such method")
		})
	}
}

// TestPatientClientOfTheDocs against a daemon that leaves in every way: what was not carried out is asked again, and what may have been is not.
func TestPatientClientOfTheDocs(t *testing.T) {
	t.Parallel()
	needPython(t)
	const (
		welcome  = `{"jsonrpc":"2.0","id":1,"result":{"welcome":{"protocol":1}}}`
		draining = `{"jsonrpc":"2.0","id":1,"result":{"draining":{"retry":true,"reason":"asked to stop"}}}`
		refused  = `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"the daemon is leaving","data":{"code":"draining"}}}`
		done     = `{"jsonrpc":"2.0","id":1,"result":{"services":[]}}`
	)
	for name, c := range map[string]struct {
		conns [][]string // what is answered on each connection before it ends
		code  int
		says  string
	}{
		"it is asked again":            {[][]string{{draining}, {}, {welcome, refused}, {draining}, {welcome, done}}, 0, `{"services": []}`},
		"nobody knows":                 {[][]string{{draining}, {welcome}}, 1, "nobody knows"},
		"it is too old to be asked":    {[][]string{{`{"jsonrpc":"2.0","id":1,"result":{"incompatible":{"protocol":[7,8]}}}`}}, 1, "no welcome: {'incompatible'"},
		"it is refused for some cause": {[][]string{{welcome, strings.Replace(refused, `"draining"`, `"busy"`, 1)}}, 1, "error: the daemon is leaving"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			socket := filepath.Join(w.home, "s")
			l, err := net.Listen("unix", socket)
			require.NoError(t, err)
			defer l.Close()
			w.bin = filepath.Join(w.home, "bin")
			require.NoError(t, os.Mkdir(w.bin, 0o755))
			require.NoError(t, writeProgram(filepath.Join(w.bin, "hob"), []byte("#!/bin/sh\necho '{\"daemon\":{\"socket\":\""+socket+"\"}}'\n")))
			left := make(chan int, 1)
			go func() {
				for i, answers := range c.conns {
					conn, err := l.Accept()
					if err != nil {
						left <- len(c.conns) - i
						return
					}
					asked := bufio.NewReader(conn)
					for _, answer := range answers {
						_, _ = asked.ReadString('\n')
						fmt.Fprintln(conn, answer)
					}
					_, _ = asked.ReadString('\n')
					conn.Close()
				}
				left <- 0
			}()
			script, err := filepath.Abs("../docs/clients/client.py")
			require.NoError(t, err)
			cmd := exec.Command("python3", script, "service.list")
			cmd.Dir, cmd.Env = w.project, w.environ()
			r := w.run(cmd)
			require.Equal(t, c.code, r.code, r.stderr)
			require.Contains(t, r.stdout+r.stderr, c.says)
			l.Close()
			require.Zero(t, <-left, "connections that never came")
		})
	}
}

// TestLinesOfTheDocs runs the lines of shell in docs/other-languages.md, with the servers of the examples.
func TestLinesOfTheDocs(t *testing.T) {
	t.Parallel()
	needPython(t)
	absent(t, "Perl", exec.Command("perl", "-e", "1").Run())
	w := newWorld(t)
	for _, path := range []string{"shell/memo.pl", "python/server.py"} {
		text, err := os.ReadFile(filepath.Join("../examples", path))
		require.NoError(t, err)
		require.NoError(t, writeProgram(filepath.Join(w.project, filepath.Base(path)), text))
	}
	doc, err := os.ReadFile("../docs/other-languages.md")
	require.NoError(t, err)
	_, script, found := strings.Cut(string(doc), "```sh\n")
	require.True(t, found)
	script, _, _ = strings.Cut(script, "```")
	cmd := exec.Command("sh", "-euc", script+"echo $address\necho $socket\n", "sh", "db", "postgres://localhost/app")
	cmd.Dir, cmd.Env = w.project, w.environ()
	r := w.run(cmd)
	require.Zero(t, r.code, r.stderr)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.Contains(t, lines[len(lines)-2], "unix:"+w.inst().Path("sock"))
	require.Equal(t, w.inst().Path(instance.SocketName), lines[len(lines)-1])
	all := w.list()
	require.Equal(t, "running", all["memo"].State)
	require.Equal(t, "idle", all["greet"].State)
}

// TestTheDocsShowWhatIsRun: the client in docs/other-languages.md is the file that TestClientsOfTheDocs runs.
func TestTheDocsShowWhatIsRun(t *testing.T) {
	doc, err := os.ReadFile("../docs/other-languages.md")
	require.NoError(t, err)
	client, err := os.ReadFile("../docs/clients/client.py")
	require.NoError(t, err)
	require.Contains(t, string(doc), "```python\n"+string(client)+"```\n")
}
