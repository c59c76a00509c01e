package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

func TestEveryErrorHasItsExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{&hob.Error{Code: "usage"}, 2},
		{&hob.Error{Code: "not_running"}, 3},
		{&hob.Error{Code: "no_such_service"}, 4},
		{&hob.Error{Code: "timeout"}, 124},
		{fmt.Errorf("stop: %w", &hob.Error{Code: "timeout"}), 124},
		{context.DeadlineExceeded, 124},
		{&hob.Error{Code: "unresponsive"}, 1},
		{&hob.Error{Code: "start_failed"}, 1},
		{errors.New("anything"), 1},
		{status(143), 143},
		{&os.PathError{Op: "write", Path: "|1", Err: unix.EPIPE}, 0},
		{&hob.Error{Code: "lost", Err: unix.EPIPE}, 1},
	} {
		a := &app{stdout: &discard{}, stderr: &discard{}, understood: true}
		require.Equal(t, c.code, a.finish(c.err), "%v", c.err)
		a.json = true
		require.Equal(t, c.code, a.finish(c.err), "with --json: %v", c.err)
	}
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }

func TestWhatIsTypedWrongIsSaidAndIsStatus2(t *testing.T) {
	p := newProject(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"nonsense"}, `unknown command "nonsense"`},
		{[]string{"lgos"}, `did you mean "hob logs"?`},
		{[]string{"--nonsense"}, "unknown flag: --nonsense"},
		{[]string{"ps", "--nonsense"}, "unknown flag: --nonsense"},
		{[]string{"--timeout", "soon", "ps"}, "invalid argument"},
		{[]string{"--timeout", "-1s", "ps"}, "--timeout -1s"},
		{[]string{"--color", "blue", "ps"}, "--color blue"},
		{[]string{"run"}, "hob run [NAME] -- CMD…"},
		{[]string{"run", "web"}, "hob run [NAME] -- CMD…"},
		{[]string{"run", "web", "npm", "start"}, "hob run [NAME] -- CMD…"},
		{[]string{"run", "web", "--"}, "no command"},
		{[]string{"run", "a", "b", "--", "true"}, "more than one name"},
		{[]string{"run", "../x", "--", "true"}, "service name"},
		{[]string{"run", "--", "/usr/bin/["}, "give it a name"},
		{[]string{"run", "--wait", "--no-wait", "--", "true"}, "contradict"},
		{[]string{"start"}, "which service?"},
		{[]string{"stop"}, "hob down"},
		{[]string{"restart"}, "which service?"},
		{[]string{"rm"}, "which service?"},
		{[]string{"kill", "web"}, "which signal"},
		{[]string{"wait"}, "exactly one"},
		{[]string{"wait", "web", "--for", "godot"}, "godot"},
		{[]string{"wait", "web", "--for", "ready:x"}, "ready:x"},
		{[]string{"wait", "web", "--for", "log:("}, "missing closing"},
		{[]string{"logs", "-n", "-1"}, "-n -1"},
		{[]string{"logs", "--since", "soon"}, "--since soon"},
		{[]string{"logs", "-g", "("}, "missing closing"},
		{[]string{"down", "web"}, `unexpected argument "web"`},
		{[]string{"daemon"}, "hob daemon status"},
		{[]string{"daemon", "stat"}, `unknown command "stat"`},
		{[]string{"completion", "tcsh"}, "for which shell?"},
		{[]string{"help", "nonsense"}, `unknown command "nonsense"`},
	} {
		code, stdout, stderr := p.hob(c.args...)
		require.Equal(t, 2, code, "%q: %s", c.args, stderr)
		require.Empty(t, stdout)
		require.Contains(t, stderr, c.says, "%q", c.args)
		require.Regexp(t, "^hob: ", stderr)

		code, stdout, stderr = p.hob(append([]string{"--json"}, c.args...)...)
		require.Equal(t, 2, code)
		require.Empty(t, stderr)
		var d api.ErrorDocument
		require.NoError(t, json.Unmarshal([]byte(stdout), &d), "%q: %s", c.args, stdout)
		require.Equal(t, "usage", d.Error.Code)
	}
	p.untouched()
}

// TestFlagsAfterTheDashesBelongToTheCommand: hob reads nothing behind "--".
func TestFlagsAfterTheDashesBelongToTheCommand(t *testing.T) {
	a := &app{flags: flags{dir: t.TempDir()}, once: &once{}}
	p, err := a.runParams([]string{"web", "npm", "run", "--json", "-C", "x"}, 1, runFlags{}, "run")
	require.NoError(t, err)
	require.Equal(t, "web", p.Name)
	require.Equal(t, []string{"npm", "run", "--json", "-C", "x"}, p.Cmd)
	p, err = a.runParams([]string{"/usr/bin/python3", "-m", "x"}, 0, runFlags{}, "run")
	require.NoError(t, err)
	require.Equal(t, "python3", p.Name)
	require.True(t, wantsJSON([]string{"ps", "--json"}))
	require.False(t, wantsJSON([]string{"run", "--", "npm", "--json"}))
}

// TestServiceRunsWhereTheCallerIs: in the physical directory, and in that of -C.
func TestServiceRunsWhereTheCallerIs(t *testing.T) {
	real, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(real, link))
	t.Chdir(link)
	dir, err := (&app{}).workDir()
	require.NoError(t, err)
	require.Equal(t, real, dir)
	other, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	dir, err = (&app{flags: flags{dir: other}}).workDir()
	require.NoError(t, err)
	require.Equal(t, other, dir)
}

func TestHelpNamesWhatIsThereAndNothingElse(t *testing.T) {
	code, stdout, stderr := call("--help")
	require.Zero(t, code)
	require.Empty(t, stderr)
	for _, v := range verbs {
		require.Contains(t, stdout, "\n  "+v.name+" ")
		code, one, _ := call(v.name, "--help")
		require.Zero(t, code)
		require.Contains(t, one, "hob "+v.name)
		stdout += one
	}
	for _, later := range []string{"--watch", "powershell"} {
		require.NotContains(t, stdout, later)
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, stdout, _ := call("completion", shell)
		require.Zero(t, code)
		require.Contains(t, stdout, "__complete")
	}
}

func TestCompletionKnowsServicesAndStartsNothing(t *testing.T) {
	p := newProject(t)
	p.save(status1("web", service.Stopped, service.Down))
	p.save(status1("db", service.Stopped, service.Down))
	_, stdout, _ := p.hob("__complete", "logs", "web", "")
	require.Contains(t, stdout, "db\t")
	require.NotContains(t, stdout, "web\t")
	p.untouched()
}

func TestColourDecision(t *testing.T) {
	for _, c := range []struct {
		flag, noColor, force string
		want                 bool
	}{
		{"auto", "", "", false}, // not a terminal
		{"always", "1", "", true},
		{"never", "", "1", false},
		{"auto", "", "1", true},
		{"auto", "1", "1", false},
		{"auto", "", "0", false},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("FORCE_COLOR", c.force)
		require.Equal(t, c.want, (&app{stdout: &discard{}, flags: flags{color: c.flag}}).colored(), "%+v", c)
	}
}

func TestQuietSaysNothingOfSuccess(t *testing.T) {
	p := newProject(t)
	code, stdout, stderr := p.hob("-q", "down")
	require.Zero(t, code)
	require.Empty(t, stdout+stderr)
	_, _, stderr = p.hob("-q", "logs", "nope")
	require.Contains(t, stderr, "no such service")
}

// TestStayingPassesTheExitOn: what isn't known is a failure, and says so.
func TestStayingPassesTheExitOn(t *testing.T) {
	a := &app{}
	require.NoError(t, a.exitAs(api.Service{State: "done", Exit: &api.Exit{}}))
	require.NoError(t, a.exitAs(api.Service{State: "stopped"}))
	require.Equal(t, status(7), a.exitAs(api.Service{State: "failed", Exit: &api.Exit{Code: 7}}))
	require.Equal(t, status(143), a.exitAs(api.Service{State: "stopped", Exit: &api.Exit{Code: 143, Signal: "SIGTERM"}}))
	for _, s := range []api.Service{{State: "failed", Exit: &api.Exit{Code: -1}, Why: "exit unknown"}, {State: "failed", Why: "can't start"}} {
		require.ErrorContains(t, a.exitAs(s), s.Why)
	}
}

// TestMessagesAreHarmless: what a daemon or a file says can't steer the terminal.
func TestMessagesAreHarmless(t *testing.T) {
	p := newProject(t)
	_, _, stderr := p.hob("logs", "a\x1b]0;owned\x07b")
	require.NotContains(t, stderr, "\x1b")
	require.NotContains(t, stderr, "\x07")
}
