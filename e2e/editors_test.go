//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

// absent skips the test where a program it needs is not there; CI has to have it.
func absent(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%s is not installed, and CI=true: %v", what, err)
		t.Skipf("%s is not installed: %v", what, err)
	}
}

// addPath puts the directory before all others on the PATH of what the world runs.
func (w *world) addPath(dir string) {
	path := w.bin + ":" + os.Getenv("PATH")
	for _, kv := range w.env { // of two values, the last one counts
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	w.env = append(w.env, "PATH="+dir+":"+path)
}

// addGopls puts gopls on the world's PATH, the one that the Makefile pins, or else the tester's. It has the tester's caches of Go.
func (w *world) addGopls() {
	w.t.Helper()
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(w.t, err)
	pinned := regexp.MustCompile(`(?m)^GOPLS = (\S+)$`).FindSubmatch(makefile)
	require.NotNil(w.t, pinned)
	path, err := filepath.Abs(filepath.Join("../bin/tools", string(pinned[1])))
	require.NoError(w.t, err)
	if _, err := os.Stat(path); err != nil {
		path, err = exec.LookPath("gopls")
		absent(w.t, "gopls (make gopls)", err)
	}
	dir := filepath.Join(filepath.Dir(w.home), "gopls")
	require.NoError(w.t, os.Mkdir(dir, 0o755))
	require.NoError(w.t, os.Symlink(path, filepath.Join(dir, "gopls")))
	w.addPath(dir)
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS", "GOTOOLCHAIN"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	require.NoError(w.t, err)
	for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		w.env = append(w.env, names[i]+"="+value)
	}
}

// goplsThroughHob is what the plugin runs.
func (w *world) goplsThroughHob() *exec.Cmd {
	return w.command("connect", "gopls", "--proxy", "--idle", "5s", "--", "sh", "-c", "exec gopls serve -listen=127.0.0.1:$PORT")
}

// isIdle waits until the service has been stopped by itself.
func (w *world) isIdle(name string) {
	w.t.Helper()
	var last api.Service
	w.eventually(name+" is idle", func() bool {
		last = *w.doc(0, "ps", name).Service
		return last.State == "idle" && last.Pid == 0
	})
	require.Empty(w.t, w.marked(name))
}

// everyQuestion is all that is asked about the places, by a name of its own; of all sessions at the same time.
func everyQuestion(places []place, sessions ...*lsp) []map[string]string {
	pending := make([]map[string]func() json.RawMessage, len(sessions))
	for _, p := range places {
		for _, method := range []string{"definition", "hover", "references", "rename"} {
			for i, c := range sessions {
				params := c.at(p)
				switch method {
				case "references":
					params["context"] = map[string]any{"includeDeclaration": true}
				case "rename":
					params["newName"] = p.word + "Renamed"
				}
				if pending[i] == nil {
					pending[i] = map[string]func() json.RawMessage{}
				}
				pending[i][method+" of "+p.text+" in "+p.file] = c.begin("textDocument/"+method, params)
			}
		}
	}
	answers := make([]map[string]string, len(sessions))
	for i, c := range sessions {
		answers[i] = map[string]string{}
		for question, answer := range pending[i] {
			answers[i][question] = sorted(c.t, answer())
		}
	}
	return answers
}

// copyCheckout makes the project a copy of this repository's files.
func (w *world) copyCheckout() {
	w.t.Helper()
	out, err := exec.Command("git", "-C", "..", "-c", "safe.directory=*", "ls-files", "-z").Output()
	absent(w.t, "git, or a checkout,", err)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // it was removed since
		}
		require.NoError(w.t, err)
		path := filepath.Join(w.project, name)
		require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(w.t, os.WriteFile(path, data, 0o644))
	}
}

// module makes the project a small one of Go, in which greeting is defined in line 3 of greeting.go.
func (w *world) module() {
	w.t.Helper()
	for name, text := range map[string]string{
		"go.mod":      "module example.com/greet\n\ngo 1.24\n",
		"main.go":     "package main\n\nfunc main() {\n\tprintln(greeting())\n}\n",
		"greeting.go": "package main\n\nfunc greeting() string { return \"hello\" }\n",
	} {
		require.NoError(w.t, os.WriteFile(filepath.Join(w.project, name), []byte(text), 0o644))
	}
}

// window is a Neovim that runs testdata/neovim/window.lua.
type window struct {
	*follower
	dir string
}

// openWindow opens main.go in one, with a clean configuration but for the plugin. setup is Lua, and sets it up.
func (w *world) openWindow(setup string) *window {
	w.t.Helper()
	out, err := exec.Command("nvim", "--version").CombinedOutput()
	absent(w.t, "Neovim", err)
	if strings.Contains(string(out), "NVIM v0.6") || strings.Contains(string(out), "NVIM v0.5") {
		absent(w.t, "Neovim", errors.New("it is older than 0.7.2"))
	}
	v := &window{dir: w.t.TempDir()}
	plugin, err := filepath.Abs("../examples/neovim")
	require.NoError(w.t, err)
	script, err := filepath.Abs("testdata/neovim/window.lua")
	require.NoError(w.t, err)
	cmd := exec.Command("nvim", "--headless", "--clean", "--cmd", "set noswapfile rtp^="+plugin, "--cmd", "lua "+setup, "-c", "luafile "+script, "main.go")
	cmd.Dir, cmd.Env = w.project, w.environ("WINDOW="+v.dir, "TMPDIR="+filepath.Dir(w.home))
	v.follower = w.start(cmd)
	return v
}

// ask has the window ask for the definition of greeting; answered waits for the answer.
func (v *window) ask() {
	v.w.t.Helper()
	require.NoError(v.w.t, os.WriteFile(filepath.Join(v.dir, "ask"), nil, 0o644))
}

// answered waits until the window has the right answer to what it was asked.
func (v *window) answered() {
	v.w.t.Helper()
	path := filepath.Join(v.dir, "answer")
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			break
		}
		select {
		case <-v.exited:
			require.Fail(v.w.t, "Neovim has ended", "%s\n%s", v.stderr, v.told())
		default:
			require.True(v.w.t, time.Now().Before(deadline), "no answer: %s\n%s", v.stderr, v.told())
		}
	}
	text, err := os.ReadFile(path)
	require.NoError(v.w.t, err)
	require.NoError(v.w.t, os.Remove(path))
	var is struct {
		URI   string
		Range struct{ Start struct{ Line, Character int } }
	}
	require.NoError(v.w.t, json.Unmarshal(text, &is))
	require.Equal(v.w.t, "file://"+filepath.Join(v.w.project, "greeting.go"), is.URI, "%s", text)
	require.Equal(v.w.t, 2, is.Range.Start.Line, "%s", text)
	require.Equal(v.w.t, len("func "), is.Range.Start.Character, "%s", text)
}

// told is what the user would have been told.
func (v *window) told() string {
	text, _ := os.ReadFile(filepath.Join(v.dir, "told"))
	return string(text)
}

// quit closes the window as :qall! does.
func (v *window) quit() {
	v.w.t.Helper()
	require.NoError(v.w.t, os.WriteFile(filepath.Join(v.dir, "quit"), nil, 0o644))
	select {
	case <-v.exited:
	case <-time.After(patience):
		require.Fail(v.w.t, "Neovim does not quit", "%s\n%s", v.stderr, v.told())
	}
	require.Zero(v.w.t, v.cmd.ProcessState.ExitCode(), v.stderr.String())
}

// TestNeovimWindowsShareGopls: two windows have one gopls. They quit, it is stopped, and a third window starts it again.
func TestNeovimWindowsShareGopls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addGopls()
	w.module()
	const setup = "require('hob').setup { servers = { gopls = { idle = '5s' } } }"
	one, two := w.openWindow(setup), w.openWindow(setup)
	one.ask()
	two.ask()
	one.answered()
	two.answered()
	gopls := w.list()["gopls"]
	require.Len(t, w.list(), 1)
	require.Equal(t, []any{"ready", 1}, []any{gopls.State, gopls.Generation})
	require.Empty(t, one.told()+two.told())

	one.quit()
	two.ask()
	two.answered()
	require.Equal(t, "ready", w.list()["gopls"].State)
	two.quit()
	w.isIdle("gopls")

	three := w.openWindow(setup)
	three.ask()
	three.answered()
	require.Equal(t, gopls.Generation+1, w.list()["gopls"].Generation)
	three.quit()
	w.isIdle("gopls")
}

// TestNeovimTellsWhyNot: what hob says of a server that can't be started is one line, with the server's last words.
func TestNeovimTellsWhyNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.module()
	v := w.openWindow("require('hob').setup { servers = { gopls = { cmd = { 'sh', '-c', 'echo no such licence >&2; exit 3' } } } }")
	w.eventually("the window tells why", func() bool { return strings.Contains(v.told(), "hob: gopls: ") })
	line := regexp.MustCompile(`(?m)^hob: .*$`).FindAllString(v.told(), -1)
	require.Len(t, line, 1)
	require.Contains(t, line[0], "exit 3")
	require.Contains(t, line[0], "(no such licence)")
	v.quit()
}

// TestGoplsThroughHobAnswersTheSame: two editors at once that share one gopls through hob get what each would get from one of its
// own, to the byte, about this very repository.
func TestGoplsThroughHobAnswersTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addGopls()
	w.copyCheckout()
	places := []place{
		{"dial.go", "func Dial(", "Dial"},
		{"dial.go", "inst.resolve()", "resolve"},
		{"serve.go", "func Serve(", "Serve"},
		{"errors.go", "type Error struct", "Error"},
		{"examples/greet/main.go", "hob.Dial(", "Dial"},
		{"examples/greet/main.go", "var count atomic.Int64", "count"},
		{"internal/instance/root.go", "func OpenRoot(", "OpenRoot"},
		{"internal/service/service.go", "type Spec struct", "Spec"},
	}

	alone := w.command()
	alone.Path, alone.Args = filepath.Join(filepath.Dir(w.home), "gopls/gopls"), []string{"gopls"}
	session := openLSP(t, alone, w.project)
	want := everyQuestion(places, session)[0]
	session.close()
	for question, answer := range want {
		require.Greater(t, len(answer), len("null"), question)
	}

	one, two := openLSP(t, w.goplsThroughHob(), w.project), openLSP(t, w.goplsThroughHob(), w.project)
	for _, got := range everyQuestion(places, one, two) {
		require.Equal(t, want, got)
	}
	require.Len(t, w.list(), 1)
	require.Equal(t, 1, w.list()["gopls"].Generation)
	one.close()
	two.close()
	w.isIdle("gopls")
}
