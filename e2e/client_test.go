//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAnEarlierRunIsNoAnswer: what a run before this call said and came to is neither shown nor passed on.
func TestAnEarlierRunIsNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := []string{"run", "--wait", "job", "--", "sh", "-c", "echo yesterday"}
	require.Equal(t, "yesterday\n", w.ok(run...).stdout)
	w.ok("daemon", "stop")
	w.env = []string{"HOB_DAEMON=" + filepath.Join(w.home, "nothing")}
	r := w.hob(run...)
	require.Equal(t, 1, r.code)
	require.Empty(t, r.stdout)
	require.Contains(t, r.stderr, "nothing")
	w.env = nil

	script := filepath.Join(w.project, "script")
	require.NoError(t, writeProgram(script, []byte("#!/bin/sh\necho yesterday\n")))
	w.toml("[services]\nweb = { run = './script', restart = 'no' }\n")
	w.ok("up")
	w.ok("wait", "web", "--for", "exit")
	require.NoError(t, os.Remove(script))
	r = w.hob("start", "web")
	require.Equal(t, 1, r.code)
	require.NotContains(t, r.stderr, "yesterday")
	w.toml("[services]\nweb = { run = './script', restart = 'no', env = { X = 'other' } }\n")
	r = w.hob("up")
	require.Equal(t, 1, r.code)
	require.NotContains(t, r.stderr, "yesterday")
}

// TestWhatCannotBeCarriedIsSaid: JSON has text only.
func TestWhatCannotBeCarriedIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Contains(t, w.failure(2, "run", "x", "--", "cat", "a\xff").Message, `"a\xff" is not UTF-8`)
	w.env = []string{"GOOD=yes", "BAD=\xff"}
	r := w.ok("run", "--wait", "x", "--", "sh", "-c", `echo "$GOOD,${BAD-none}"`)
	require.Equal(t, "yes,none\n", r.stdout)
	require.Equal(t, "hob: the variable \"BAD\" is left out: it is not UTF-8\n", r.stderr)
}

// TestRunWaitIsNotHeldUpByAHobdThatHangs: whoever ends it is told why the service goes on.
func TestRunWaitIsNotHeldUpByAHobdThatHangs(t *testing.T) {
	t.Parallel()
	for _, signals := range [][]syscall.Signal{{syscall.SIGTERM}, {syscall.SIGINT, syscall.SIGINT}} {
		t.Run(signals[0].String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.follow("run", "--wait", "job", "--", "sh", "-c", "echo up; exec sleep 1000")
			f.until("^up$")
			pid := w.pid()
			w.stop(pid)
			for i, sig := range signals {
				_ = f.cmd.Process.Signal(sig) // where it had not yet asked for the end, it has its answer, and has ended
				if i+1 < len(signals) {
					w.eventually("it is said why", func() bool { return strings.Contains(f.stderr.String(), "is stopped, state T") })
				}
			}
			require.Equal(t, 1, f.wait())
			require.Contains(t, f.stderr.String(), "is stopped, state T")
			require.Contains(t, f.stderr.String(), "kill -CONT")
			w.kill(pid, syscall.SIGCONT)
			require.Equal(t, "running", w.list()["job"].State)
		})
	}
}

// TestRunWaitWithATerminalShowsWhatEndedAtOnce: before it could be attached to.
func TestRunWaitWithATerminalShowsWhatEndedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 10 {
		p := w.sit("run", "--tty", "--wait", "x", "--", "sh", "-c", "echo it is here; exit 3")
		p.sees("it is here")
		p.leaves(3)
	}
}

// TestIgnoredSignalsAreNotTaken: nohup(1), and a shell's "&".
func TestIgnoredSignalsAreNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services]\nweb = { run = 'sleep 1000' }\n")
	w.ok("up")
	cmd := w.command("hold", "web")
	cmd.Args = append([]string{"sh", "-c", `trap "" HUP INT; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	f := w.start(cmd)
	holding := func() bool { return strings.Contains(f.stderr.String(), "holding web") }
	w.eventually("it holds", holding)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid))
	require.NoError(t, err)
	ignored := regexp.MustCompile(`(?m)^SigIgn:\s*([0-9a-f]+)$`).FindSubmatch(status)
	mask, err := strconv.ParseUint(string(ignored[1]), 16, 64)
	require.NoError(t, err)
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		require.NotZero(t, mask&(1<<(sig-1)), "%v is caught", sig)
		f.signal(sig)
	}
	f.signal(syscall.SIGTERM)
	require.Zero(t, f.wait())
}

// TestALostLeaseIsTold: the command runs on, and the services are held again when that can be.
func TestALostLeaseIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = []string{"HOB_DAEMON=" + filepath.Join(w.home, "hobd")}
	require.NoError(t, os.Symlink(filepath.Join(bin, "hobd"), filepath.Join(w.home, "hobd")))
	addr := freePort(t)
	w.serve(strconv.Quote(addr), "50ms", "[daemon]\nidle_exit = '1h'")
	f := w.follow("hold", "--", "sh", "-c", "echo runs; until [ -e go ] || [ ! -e hob.toml ]; do sleep 0.02; done; exit 7") // it outlives a hob that is killed
	f.until("^runs$")
	require.NoError(t, os.Remove(filepath.Join(w.home, "hobd")))
	w.ok("daemon", "stop")
	w.eventually("it is told", func() bool { return strings.Contains(f.stderr.String(), "not held any more") })
	require.NoError(t, os.Symlink(filepath.Join(bin, "hobd"), filepath.Join(w.home, "hobd")))
	w.eventually("it has started another hobd", func() bool { return w.hob("daemon", "status").code == 0 })
	w.ok("up")
	w.eventually("there is a lease again", func() bool { // else it would have been stopped many times
		pid, err := ask("tcp", addr, "x")
		for began := time.Now(); err == nil && running(pid) && time.Since(began) < 1500*time.Millisecond; {
			time.Sleep(5 * time.Millisecond)
		}
		return err == nil && running(pid)
	})
	w.touch("go")
	require.Equal(t, 7, f.wait())
}

// TestTimeoutsSayWhatWasNotDone: not only that time is up.
func TestTimeoutsSayWhatWasNotDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.sit("run", "--tty", "shell", "--", "cat")
	p.leaves(0)
	p = w.sit("attach", "shell", "--timeout", "10s") // not so short that it ends before there is a connection
	p.sees("hob: attach shell: not done in 10s")
	p.leaves(124)
}
