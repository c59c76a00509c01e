//go:build linux

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// TestScripts is the command line as somebody types it: each script of testdata/script in a world of
// its own. $WORK/home is the home and $WORK/project, where a script begins, the project.
//
// Besides testscript's own commands there are
//
//	status N CMD…       run CMD, which must end with exit status N
//	until RE CMD…       run CMD until its stdout matches RE
//	servicepid VAR NAME set VAR to the pid of a service
//	daemonpid VAR       set VAR to the pid of the daemon
//	gone PID…           no such process runs
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			testscript.Run(t, testscript.Params{
				Files: []string{script},
				Setup: func(env *testscript.Env) error { return w.setUp(env) },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status": cmdStatus, "until": cmdUntil, "servicepid": w.cmdServicePid, "daemonpid": w.cmdDaemonPid, "gone": cmdGone,
				},
				Condition: func(cond string) (bool, error) {
					if cond == "root" {
						return os.Geteuid() == 0, nil
					}
					return false, errors.New("unknown condition " + cond)
				},
				RequireExplicitExec: true, RequireUniqueNames: true,
			})
		})
	}
}

// setUp moves the world to where the script's files were extracted.
func (w *world) setUp(env *testscript.Env) error {
	w.home, w.project = filepath.Join(env.WorkDir, "home"), filepath.Join(env.WorkDir, "project")
	for _, dir := range []string{w.home, w.project} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	env.Vars, env.Cd = append(env.Vars, w.environ("HELLO=1")...), w.project
	env.Defer(w.end)
	return nil
}

// call runs a command of a script as exec would.
func call(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v: %v", args, err)
	}
	code := 0
	if exit != nil {
		code = exit.ExitCode()
	}
	return code
}

func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N CMD…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := call(ts, args[1:]); got != want {
		ts.Fatalf("%v: exit status %d, want %d", args[1:], got, want)
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until RE CMD…")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; {
		if err := ts.Exec(args[1], args[2:]...); err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v: stdout never matched %q", args[1:], args[0])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) cmdServicePid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: servicepid VAR NAME")
	}
	found := w.marked(args[1])
	for _, m := range found {
		if m.Session == m.Pid {
			ts.Setenv(args[0], strconv.Itoa(m.Pid))
			return
		}
	}
	ts.Fatalf("no process of %s runs", args[1])
}

func (w *world) cmdDaemonPid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || w.pid() == 0 {
		ts.Fatalf("usage: daemonpid VAR, while a daemon runs")
	}
	ts.Setenv(args[0], strconv.Itoa(w.pid()))
}

func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		ts.Check(err)
		// hob answers when the locks are free, a moment before the end of the last thread.
		for deadline := time.Now().Add(patience); running(pid) && !neg && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		if alive := running(pid); alive != neg {
			ts.Fatalf("pid %d runs: %v", pid, alive)
		}
	}
}
