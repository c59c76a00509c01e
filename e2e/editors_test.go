//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// gopls is the language server, built by make gopls or on PATH.
func gopls(t *testing.T) string {
	built, err := filepath.Glob("../bin/tools/golang.org/x/tools/gopls@*")
	require.NoError(t, err)
	if len(built) > 0 {
		path, err := filepath.Abs(built[len(built)-1])
		require.NoError(t, err)
		return path
	}
	return needs(t, "gopls")
}

// needs finds a program that CI installs; elsewhere the test is skipped without it.
func needs(t *testing.T, program string) string {
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") == "true" {
		require.NoError(t, err)
	}
	if err != nil {
		t.Skip("no ", program, ": ", err)
	}
	return path
}

// goEnv has go work without a network and with what the tests were built from, in a home of its own.
func goEnv(t *testing.T) []string {
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPATH", "GOROOT").Output()
	require.NoError(t, err)
	var have map[string]string
	require.NoError(t, json.Unmarshal(out, &have))
	env := []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off"}
	for name, value := range have {
		env = append(env, name+"="+value)
	}
	return env
}

// question is what an editor asks about a word.
type question struct {
	method, file, needle string
	into                 int
	more                 map[string]any
}

var questions = []question{
	{"textDocument/definition", "internal/supervisor/svc.go", "newSvc(s *Supervisor", 1, nil},
	{"textDocument/definition", "internal/supervisor/adopt.go", "process.Adopt(", len("process.A"), nil},
	{"textDocument/definition", "cmd/client/reach.go", "hob.Dial(", len("hob.D"), nil},
	{"textDocument/hover", "internal/lock/lock.go", "func TryAcquire(", len("func T"), nil},
	{"textDocument/hover", "internal/service/service.go", "type Spec struct", len("type S"), nil},
	{"textDocument/references", "internal/service/service.go", "func CheckName(", len("func C"), map[string]any{"context": map[string]any{"includeDeclaration": true}}},
	{"textDocument/references", "internal/supervisor/svc.go", "func (v *svc) post(", len("func (v *svc) p"), map[string]any{"context": map[string]any{"includeDeclaration": false}}},
	{"textDocument/rename", "internal/supervisor/needs.go", "func (v *svc) nudge(", len("func (v *svc) n"), map[string]any{"newName": "poke"}},
	{"textDocument/rename", "internal/service/service.go", "func CheckRestart(", len("func C"), map[string]any{"newName": "CheckPolicy"}},
}

// answers asks them all.
func (l *lsp) answers() map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for _, q := range questions {
		all[q.method+" "+q.needle] = l.at(q.method, q.file, q.needle, q.into, q.more)
	}
	return all
}

// TestGoplsThroughHobAnswersTheSame: two sessions with one gopls, joined by hob connect, know what gopls alone knows
// about this very code.
func TestGoplsThroughHobAnswersTheSame(t *testing.T) {
	t.Parallel()
	server := gopls(t)
	w := newWorld(t)
	w.env = goEnv(t)
	w.copyOfThis()
	alone := exec.Command(server, "serve")
	alone.Dir, alone.Env = w.project, w.environ()
	l := startLSP(t, alone, w.project)
	want := l.answers()
	l.close()
	for q, a := range want {
		require.Greater(t, len(a), 20, "%s: %s", q, a)
	}
	connect := []string{"connect", "gopls", "--proxy", "--idle", "1s", "--", "sh", "-c", fmt.Sprintf("exec %s serve -listen=127.0.0.1:$PORT", server)}
	one, two := startLSP(t, w.command(connect...), w.project), startLSP(t, w.command(connect...), w.project)
	require.Equal(t, want, one.answers())
	require.Equal(t, want, two.answers())
	s := w.doc(0, "ps", "gopls").Service
	require.Equal(t, []any{"ready", 1}, []any{s.State, s.Generation})
	one.close()
	require.Equal(t, want, two.answers(), "the other window goes on")
	two.close()
	w.eventually("gopls is stopped", func() bool { return w.doc(0, "ps", "gopls").Service.State == "idle" && !running(s.Pid) })
}

// copyOfThis makes the project a copy of the module that is tested.
func (w *world) copyOfThis() {
	w.t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(w.t, err)
	for _, file := range listGo(w.t, root) {
		text, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(w.t, err)
		to := filepath.Join(w.project, file)
		require.NoError(w.t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(w.t, os.WriteFile(to, text, 0o644))
	}
}

// listGo lists what a module needs to be built, without what is hidden or made.
func listGo(t *testing.T, root string) []string {
	var files []string
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "testdata"):
			return filepath.SkipDir
		case !d.IsDir() && (strings.HasSuffix(name, ".go") || name == "go.mod" || name == "go.sum"):
			rel, err := filepath.Rel(root, path)
			files = append(files, rel)
			return err
		}
		return nil
	}))
	return files
}

// window is a Neovim that runs testdata/nvim/window.lua.
type window struct {
	w      *world
	cmd    *exec.Cmd
	result string
	quit   string
}

// newWindow opens main.go in a Neovim.
func (w *world) newWindow(nvim string, n int, server []string) *window {
	w.t.Helper()
	plugin, err := filepath.Abs("../examples/neovim")
	require.NoError(w.t, err)
	script, err := filepath.Abs("testdata/nvim/window.lua")
	require.NoError(w.t, err)
	command, err := json.Marshal(server)
	require.NoError(w.t, err)
	v := &window{w: w, result: filepath.Join(w.home, fmt.Sprint("result", n)), quit: filepath.Join(w.home, fmt.Sprint("quit", n))}
	v.cmd = exec.Command(nvim, "--headless", "-n", "-i", "NONE", "-u", script)
	v.cmd.Dir = w.project
	v.cmd.Env = w.environ("PLUGIN="+plugin, "HOB="+filepath.Join(w.bin, "hob"), "SERVER="+string(command), "FILE="+filepath.Join(w.project, "main.go"),
		"LINE=2", "COLUMN=16", "RESULT="+v.result, "QUIT="+v.quit)
	require.NoError(w.t, v.cmd.Start())
	w.t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
	})
	return v
}

// definition is where gopls says that the word is defined, as file:line.
func (v *window) definition() string {
	v.w.t.Helper()
	v.w.eventually("the window has an answer", func() bool { return isRegular(v.result) })
	text, err := os.ReadFile(v.result)
	require.NoError(v.w.t, err)
	var r struct {
		Error  string
		Result struct {
			Result []struct {
				URI   string
				Range struct{ Start struct{ Line int } }
			}
		}
	}
	require.NoError(v.w.t, json.Unmarshal(text, &r), string(text))
	require.Empty(v.w.t, r.Error, string(text))
	require.Len(v.w.t, r.Result.Result, 1, string(text))
	return fmt.Sprintf("%s:%d", filepath.Base(r.Result.Result[0].URI), r.Result.Result[0].Range.Start.Line)
}

func (v *window) close() {
	v.w.t.Helper()
	require.NoError(v.w.t, os.WriteFile(v.quit, nil, 0o600))
	require.NoError(v.w.t, v.cmd.Wait())
}

// TestNeovimWindowsShareGopls: the first window starts it, the second one joins it, and when both are gone it is stopped. A third one
// starts it again.
func TestNeovimWindowsShareGopls(t *testing.T) {
	t.Parallel()
	nvim, server := needs(t, "nvim"), gopls(t)
	w := newWorld(t)
	w.env = goEnv(t)
	w.write("go.mod", "module example.org/m\n\ngo 1.21\n")
	w.write("main.go", "package main\n\nfunc main() { greet() }\n")
	w.write("greet.go", "package main\n\nfunc greet() { println(\"hello\") }\n")
	cmd := []string{"sh", "-c", fmt.Sprintf("exec %s serve -listen=127.0.0.1:$PORT", server)}
	one := w.newWindow(nvim, 1, cmd)
	require.Equal(t, "greet.go:2", one.definition())
	first := w.doc(0, "ps", "gopls").Service
	require.Equal(t, "ready", first.State)
	two := w.newWindow(nvim, 2, cmd)
	require.Equal(t, "greet.go:2", two.definition())
	one.close()
	now := w.doc(0, "ps", "gopls").Service
	require.Equal(t, []any{"ready", first.Pid, 1}, []any{now.State, now.Pid, now.Generation}, "one gopls for both")
	two.close()
	w.eventually("gopls is stopped", func() bool { return w.doc(0, "ps", "gopls").Service.State == "idle" && !running(first.Pid) })
	three := w.newWindow(nvim, 3, cmd)
	require.Equal(t, "greet.go:2", three.definition())
	three.close()
	require.Equal(t, 2, w.doc(0, "ps", "gopls").Service.Generation)

	w.ok("down")
	broken := w.newWindow(nvim, 4, []string{"sh", "-c", "echo no such server >&2; exit 3"})
	w.eventually("the window has an answer", func() bool { return isRegular(broken.result) })
	text, err := os.ReadFile(broken.result)
	require.NoError(t, err)
	require.Contains(t, string(text), "hob: gopls: exit 1, failed: exit 3")
	broken.close()
}

// TestPythonExample: a command line starts its server, the next call finds it, and nobody is left when it is idle. Its
// server is one of hob.toml's, too.
func TestPythonExample(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	w := newWorld(t)
	w.env = []string{"GREET_IDLE=2s"}
	greet := func(name string) string {
		t.Helper()
		r := w.run(w.example("python/greet", name))
		require.Zero(t, r.code, r.stderr)
		return r.stdout
	}
	require.Regexp(t, `^hello Ada, you are number 1 \(pid \d+\)\n$`, greet("Ada"))
	require.Contains(t, greet("Alan"), "hello Alan, you are number 2 ")
	s := w.doc(0, "ps", "greetd").Service
	require.Equal(t, 1, s.Generation)
	w.eventually("it is idle", func() bool { return w.doc(0, "ps", "greetd").Service.State == "idle" })
	require.Zero(t, w.doc(0, "ps", "greetd").Service.Exit.Code, "it leaves in good order")
	require.Contains(t, greet("Grace"), "you are number 1 ")

	other := newWorld(t)
	for _, name := range []string{"server.py", "hob.toml"} {
		text, err := os.ReadFile(filepath.Join("../examples/python", name))
		require.NoError(t, err)
		other.write(name, string(text))
	}
	other.ok("up")
	require.Equal(t, "idle", other.doc(0, "ps", "greetd").Service.State)
	c := other.command("connect", "greetd")
	c.Stdin = strings.NewReader("Edsger\n")
	require.Contains(t, other.run(c).stdout, "hello Edsger, you are number 1 ")
}

// example is a program of examples/, run in the project.
func (w *world) example(path string, args ...string) *exec.Cmd {
	abs, err := filepath.Abs(filepath.Join("../examples", path))
	require.NoError(w.t, err)
	cmd := exec.Command(abs, args...)
	cmd.Dir, cmd.Env = w.project, w.environ()
	return cmd
}

// TestShellExample: one line of shell with a server that remembers, until it is idle.
func TestShellExample(t *testing.T) {
	t.Parallel()
	needs(t, "perl")
	w := newWorld(t)
	w.env = []string{"COUNT_IDLE=2s"}
	count := func(word, want string) {
		t.Helper()
		r := w.run(w.example("shell/count", word))
		require.Equal(t, result{stdout: want, took: r.took}, r)
	}
	count("tea", "1\n")
	count("tea", "2\n")
	count("milk", "1\n")
	require.Equal(t, 1, w.doc(0, "ps", "counter").Service.Generation)
	w.eventually("it is idle", func() bool { return w.doc(0, "ps", "counter").Service.State == "idle" })
	count("tea", "1\n")
}
