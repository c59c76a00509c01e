//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

// TestCrashedServiceIsStartedAgain, with its environment and log, ad hoc and from a file.
func TestCrashedServiceIsStartedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.file]\nrun = ['sh', '-c', 'echo run with $FLAVOUR; exec sleep 1000']\n")
	w.env = []string{"FLAVOUR=salt"}
	w.ok("up")
	w.ok("run", "adhoc", "--", "sh", "-c", "echo run with $FLAVOUR; exec sleep 1000")
	w.env = []string{"FLAVOUR=sugar"}
	says := func(name, text string) {
		t.Helper()
		w.eventually(name+" says so", func() bool { return w.ok("logs", name).stdout == text })
	}
	for _, name := range []string{"file", "adhoc"} {
		says(name, "run with salt\n")
		before := w.doc(0, "ps", name).Service
		w.kill(before.Pid, syscall.SIGKILL)
		w.eventually("another run is there", func() bool {
			s := w.doc(0, "ps", name).Service
			return s.State == "running" && s.Pid != before.Pid
		})
		s := w.doc(0, "ps", name).Service
		require.Equal(t, 1, s.Restarts)
		require.Equal(t, before.Generation+1, s.Generation)
		require.Len(t, s.Exits, 1)
		require.Equal(t, "SIGKILL", s.Exits[0].Signal)
		require.Contains(t, s.EnvDrift, "FLAVOUR")
		says(name, "run with salt\nrun with salt\n")
		require.Len(t, w.marked(name), 1)
	}
	w.ok("restart", "file")
	says("file", "run with salt\nrun with salt\nrun with sugar\n")
	require.Zero(t, w.doc(0, "ps", "file").Service.Restarts)
}

// TestCrashLoopEndsInFailed with the reason and the last words; what is mended is picked up by start.
func TestCrashLoopEndsInFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services]\nweb = { run = './web', ready = { log = '^up$' } }\ndependent = { run = 'sleep 1000', needs = ['web'] }\n")
	script := filepath.Join(w.project, "web")
	// None of its runs counts as one that is up, however slow it is.
	require.NoError(t, writeProgram(script, []byte("#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do echo line $i; done\nexit 3\n")))
	r := w.hob("up")
	require.Equal(t, 1, r.code, r.stderr)
	require.Regexp(t, `service "web": exit 3; 5 runs failed within 1m0s`, r.stderr)
	require.Contains(t, r.stderr, `service "dependent": needs web, which is failed`)
	require.Contains(t, r.stderr, "    line 22\n")
	require.Contains(t, r.stderr, "    line 3\n")
	require.NotContains(t, r.stderr, "    line 2\n")
	s := w.doc(0, "ps", "web").Service
	require.Equal(t, "failed", s.State)
	require.Equal(t, 4, s.Restarts)
	require.Equal(t, 5, s.Generation)
	require.Len(t, s.Exits, 5)
	require.Equal(t, 5, strings.Count(w.ok("logs", "-n1000", "web").stdout, "line 22\n"))

	require.NoError(t, writeProgram(script, []byte("#!/bin/sh\necho up\nexec sleep 1000\n")))
	w.ok("start", "web")
	require.Equal(t, "ready", w.doc(0, "ps", "web").Service.State)
	w.ok("up")
	require.Equal(t, "running", w.doc(0, "ps", "dependent").Service.State)
}

// TestPolicies on the real thing.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string][2]string{
		"no": {"done", "failed"}, "on-failure": {"done", "running"}, "always": {"running", "running"},
	} {
		for code := range 2 {
			t.Run(fmt.Sprintf("%s exit %d", policy, code), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.ok("run", "--restart", policy, "web", "--", "sh", "-c", fmt.Sprintf(`if [ -e once ]; then exec sleep 1000; fi; until [ -e end ]; do sleep 0.02; done; touch once; exit %d`, code))
				w.touch("end")
				w.eventually("the policy is applied", func() bool {
					s := w.doc(0, "ps", "web").Service
					return len(s.Exits) == 1 && s.State == want[code]
				})
				require.Equal(t, code, w.doc(0, "ps", "web").Service.Exits[0].Code)
			})
		}
	}
}

// TestStopEndsTheBackOff: nothing is started after it.
func TestStopEndsTheBackOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', 'echo run >>runs; exit 1']\n")
	var s api.Service
	w.eventually("it is in back-off", func() bool { // a pause is short, and there are four of them
		if s = w.list()["web"]; s.State == "" || s.State == "failed" {
			w.hob("up", "--no-wait")
		}
		return s.State == "backoff"
	})
	require.Regexp(t, `^exit 1, try \d in \d+`, s.Why)
	require.NotNil(t, s.NextTry)
	w.ok("stop", "web")
	require.Equal(t, "stopped", w.list()["web"].State)
	require.Equal(t, "down", w.list()["web"].Want)
	runs := w.read("runs")
	w.kill(w.pid(), syscall.SIGKILL)
	w.ok("daemon", "start")
	require.Equal(t, "stopped", w.list()["web"].State)
	require.Equal(t, runs, w.read("runs"))
}

// TestReasonOutlivesTheRest: why a service is not started again is said, also when something of its last run was left and has ended since.
func TestReasonOutlivesTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', '(until [ -e gate ]; do sleep 0.02; done) & exit 3']\nready = { log = '^never$' }\n")
	require.Equal(t, 1, w.hob("up").code)
	s := w.list()["web"]
	require.Contains(t, s.Why, "exit 3")
	require.Regexp(t, `\d of its processes live on`, s.Why)
	require.Contains(t, s.Why, "5 runs failed within 1m0s, not started again")
	w.touch("gate")
	w.eventually("the rest has ended", func() bool { s = w.list()["web"]; return !strings.Contains(s.Why, "live on") })
	require.Equal(t, "exit 3; 5 runs failed within 1m0s, not started again", s.Why)
}

// dallying is a service that ends upon TERM only when the project has a file "gate".
const dallying = `trap 'while :; do [ -e gate ] && exit; sleep 0.02; done' TERM; while :; do sleep 0.02; done`

// TestRestartOutlivesTheDaemon: what was stopped for another run is started by the next hobd, as what was asked for, whatever became of the caller.
func TestRestartOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	dally := []string{"sh", "-c", dallying}
	for name, c := range map[string]struct {
		again func(*world) *follower
		want  []string
	}{
		"restart": {func(w *world) *follower { return w.follow("restart", "web") }, dally},
		"replace": {func(w *world) *follower { return w.follow("run", "--replace", "web", "--", "sleep", "1001") }, []string{"sleep", "1001"}},
		"up": {func(w *world) *follower {
			w.toml("[services]\nweb.run = ['sleep', '1001']\ndb.run = 'sleep 1002'\n")
			return w.follow("up")
		}, []string{"sleep", "1001"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if name == "up" {
				w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote(dallying) + "]\nstop.timeout = '10m'\n[services.db]\nrun = 'sleep 1000'\n")
				w.ok("up")
			} else {
				w.ok(append([]string{"run", "web", "--"}, dally...)...)
			}
			before, was := w.list(), w.pid()
			call := c.again(w)
			w.eventually("it is stopping, and what else is to be stopped is", func() bool {
				now := w.list()
				return now["web"].State == "stopping" && (name != "up" || now["db"].State == "waiting")
			})
			_ = call.cmd.Process.Kill()
			w.kill(was, syscall.SIGKILL)
			w.back(was)
			w.touch("gate")
			w.eventually("all run again", func() bool {
				now := w.list()
				for name := range before {
					if now[name].State != "running" || now[name].Pid == before[name].Pid {
						return false
					}
				}
				return true
			})
			require.Equal(t, c.want, w.list()["web"].Cmd)
			for name := range before {
				require.Len(t, runsOf(w.marked(name)), 1)
			}
		})
	}
}

// TestANewNeedOutlivesTheDaemon: what a file needs in addition was never started, and the next hobd starts it where the one before did not come to that; so
// what waits for it is, too.
func TestANewNeedOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote(dallying) + "]\nstop.timeout = '10m'\n")
	w.ok("up")
	w.toml("[services]\nweb = { run = ['sleep', '1001'], needs = ['db'] }\ndb.run = ['sh', '-c', 'echo $FLAVOUR; exec sleep 1002']\n")
	w.env = []string{"FLAVOUR=salt"}
	call, was := w.follow("up"), w.pid()
	w.eventually("it is stopping", func() bool { return w.list()["web"].State == "stopping" })
	w.kill(was, syscall.SIGKILL)
	_ = call.cmd.Process.Kill() // it may have ended of that
	w.env = nil
	w.back(was)
	w.touch("gate")
	w.eventually("both run", func() bool {
		now := w.list()
		return now["web"].State == "running" && now["db"].State == "running"
	})
	require.Equal(t, []string{"sleep", "1001"}, w.list()["web"].Cmd)
	w.eventually("db says so", func() bool { return w.ok("logs", "db").stdout == "salt\n" })
}

// TestASocketIsEnough for a service on demand that a file was to be applied to, also where the next hobd does that, or the address was taken for a while: it
// is not started for nobody.
func TestASocketIsEnough(t *testing.T) {
	t.Parallel()
	idle := func(w *world) {
		w.t.Helper()
		w.eventually("it is at rest", func() bool {
			s := w.list()["web"]
			require.NotContains(w.t, []string{"starting", "running"}, s.State, w.daemonLog())
			if s.State == "failed" { // its address was taken for too long
				w.hob("up", "--no-wait")
			}
			return s.State == "idle"
		})
		require.Empty(w.t, w.marked("web"))
	}
	file := func(w *world, addr, run string) {
		w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote(run) + "]\nlisten = '" + addr + "'\nidle = '1h'\nstop.timeout = '10m'\n")
	}
	killed := func(w *world, call *follower) {
		was := w.pid()
		w.kill(was, syscall.SIGKILL)
		_ = call.cmd.Process.Kill() // it may have ended of that
		w.back(was)
		w.touch("gate")
	}
	t.Run("it is stopping", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		addr := freePort(t)
		file(w, addr, dallying)
		w.ok("up")
		w.ok("start", "web")
		file(w, addr, "exec sleep 1000")
		call := w.follow("up")
		w.eventually("it is stopping", func() bool { return w.list()["web"].State == "stopping" })
		killed(w, call)
		idle(w)
	})
	t.Run("it waits for others to stop", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		addr := freePort(t)
		more := func(run string) {
			text := w.read("hob.toml")
			w.toml(text + "[services.db]\nrun = ['sh', '-c', " + strconv.Quote(run) + "]\nstop.timeout = '10m'\n")
		}
		file(w, addr, "exec sleep 1000")
		more(dallying)
		w.ok("up")
		file(w, addr, "exec sleep 1001")
		more("exec sleep 1001")
		call := w.follow("up")
		w.eventually("it waits", func() bool { return w.list()["web"].State == "waiting" && w.list()["db"].State == "stopping" })
		killed(w, call)
		idle(w)
	})
	t.Run("the address is taken", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		file(w, l.Addr().String(), "exec sleep 1000")
		w.ok("up", "--no-wait")
		w.eventually("it is to be tried again", func() bool {
			s := w.list()["web"]
			if s.State == "failed" {
				w.hob("up", "--no-wait")
			}
			return s.State == "backoff"
		})
		l.Close()
		idle(w)
	})
}

// TestTheRestOfARunIsEndedAside: what a crashed run has left may take its whole grace, and hobd goes on meanwhile: it can be upgraded, the service be
// stopped, and the grace be cut. Then nothing is left of it, and no other run has begun.
func TestTheRestOfARunIsEndedAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote("(trap '' TERM; while :; do sleep 0.05; done) & until [ -e crash ]; do sleep 0.02; done; exit 1") + "]\nstop.timeout = '10m'\n")
	w.ok("up")
	w.touch("crash")
	w.eventually("the rest is being ended", func() bool { return w.list()["web"].State == "stopping" })
	w.as(2).ok("daemon", "upgrade")
	require.Equal(t, "stopping", w.list()["web"].State)
	stop := w.follow("stop", "web")
	w.eventually("nobody wants it any more", func() bool { return w.list()["web"].Want == "down" })
	pid := w.pid()
	w.kill(pid, syscall.SIGTERM)
	w.eventually("hobd is leaving", func() bool { return strings.Contains(w.daemonLog(), "msg=stopping") })
	w.kill(pid, syscall.SIGTERM)
	w.eventually("hobd has gone", func() bool { return !running(pid) })
	stop.wait()
	require.Empty(t, w.marked("web"), w.daemonLog())
	s := w.list()["web"]
	require.Equal(t, "stopped", s.State)
	require.Equal(t, 1, s.Generation)
}

// TestDaemonStopIsTheEnd: a service that was being restarted is not started by a hobd that leaves, nor is one that somebody wants to run just then.
func TestDaemonStopIsTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote(dallying) + "]\nstop.timeout = '10m'\n")
	w.ok("up")
	restart := w.follow("restart", "web")
	w.eventually("it is stopping", func() bool { return w.list()["web"].State == "stopping" })
	restart.signal(syscall.SIGKILL)
	pid := w.pid()
	w.kill(pid, syscall.SIGTERM)
	w.eventually("hobd is leaving", func() bool { return strings.Contains(w.daemonLog(), "msg=stopping") })
	w.touch("gate")
	w.eventually("hobd has gone", func() bool { return !running(pid) })
	require.Empty(t, w.marked("web"), w.daemonLog())
	require.Equal(t, "stopped", w.list()["web"].State)
}

// TestWaitForANeedOutlivesTheDaemon: a service that is to be started again as soon as what it needs is back is, by the next hobd, too.
func TestWaitForANeedOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services]\ndb.run = 'sleep 1000'\nweb = { run = 'sleep 1000', needs = ['db'], restart = 'always' }\n")
	w.ok("up")
	w.ok("stop", "db")
	w.kill(w.list()["web"].Pid, syscall.SIGKILL)
	w.eventually("it waits", func() bool { return w.list()["web"].State == "waiting" })
	was := w.pid()
	w.kill(was, syscall.SIGKILL)
	w.back(was)
	require.Equal(t, "waiting", w.list()["web"].State, w.daemonLog())
	w.ok("start", "db")
	w.eventually("it runs again", func() bool { return w.list()["web"].State == "running" })
}

// TestEndedWhileNobodyLooked: hobd and what watches over it are killed, then the service ends; the next hobd
// knows how it ended and does what the policy says.
func TestEndedWhileNobodyLooked(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{"no": "failed", "on-failure": "running"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("run", "--restart", policy, "web", "--", "sleep", "1000")
			before := w.doc(0, "ps", "web").Service
			w.killSilently()
			w.kill(before.Pid, syscall.SIGKILL)
			w.eventually("the service is gone", func() bool { return !running(before.Pid) })
			w.ok("daemon", "start")
			w.eventually("the policy is applied", func() bool { return w.doc(0, "ps", "web").Service.State == want })
			s := w.doc(0, "ps", "web").Service
			require.Len(t, s.Exits, 1)
			if want == "failed" {
				require.Contains(t, s.Why, "while hobd was down")
			}
			require.LessOrEqual(t, len(w.marked("web")), 1)
		})
	}
}

// killSilently kills hobd and what would start the next one, so that nobody looks after the services.
func (w *world) killSilently() {
	w.t.Helper()
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range w.sentries() {
			_ = syscall.Kill(pid, sig) // an earlier one may have left just now
		}
		w.kill(w.pid(), sig)
	}
}

// TestAfterARebootNothingRuns: what the disk says of another boot is not adopted, and not started by itself either.
func TestAfterARebootNothingRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services]\nup.run = ['sh', '-c', 'echo run >>runs; exec sleep 1000']\nlooping.run = ['sh', '-c', 'echo run >>runs; exit 1']\n")
	w.ok("up", "up")
	w.eventually("one is in back-off, and there is a sentry", func() bool { // a pause is short, and there are four of them
		if s := w.list()["looping"]; s.State == "stopped" || s.State == "failed" {
			w.hob("up", "--no-wait")
		}
		w.stop(w.pid())
		text, _ := os.ReadFile(w.inst().Path("state", "looping.json"))
		if strings.Contains(string(text), `"state":"backoff"`) && len(w.sentries()) == 1 {
			return true
		}
		w.kill(w.pid(), syscall.SIGCONT)
		return false
	})
	w.killSilently()
	pid := 0
	for _, name := range []string{"up", "looping"} {
		path := w.inst().Path("state", name+".json")
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		var st map[string]any
		require.NoError(t, json.Unmarshal(data, &st))
		if name == "up" {
			pid = int(st["pid"].(float64))
		}
		st["boot_id"] = "another"
		data, err = json.Marshal(st)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	w.eventually("one that has begun meanwhile has ended", func() bool { return len(w.marked("looping")) == 0 })
	runs := w.read("runs")
	w.ok("daemon", "start")
	for name, s := range w.list() {
		require.Equal(t, "stopped", s.State, name)
		require.Equal(t, "reboot", s.Why, name)
		require.Zero(t, s.Adopted, name)
	}
	require.Equal(t, runs, w.read("runs"))
	w.kill(pid, syscall.SIGKILL) // which a reboot would have done
}

// TestARunThatWasNotWrittenDownIsAdopted: on a full disk the state stays that of the run before; the mark of the process tells.
func TestARunThatWasNotWrittenDownIsAdopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	w.ok("stop", "web")
	path := w.inst().Path("state", "web.json")
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	w.ok("start", "web")
	pid := w.doc(0, "ps", "web").Service.Pid
	w.killSilently()
	require.NoError(t, os.WriteFile(path, old, 0o600))
	w.ok("daemon", "start")
	s := w.doc(0, "ps", "web").Service
	require.Equal(t, "running", s.State, w.daemonLog())
	require.Equal(t, pid, s.Pid)
	require.Equal(t, 2, s.Generation)
	w.oneService("web")
	w.ok("stop", "web")
	w.requireNoProcess(pid)
}

// TestAdoptedWithoutItsLog: the FIFO can't be opened again when the next hobd comes. The service goes on, and can be stopped.
func TestAdoptedWithoutItsLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	service := w.doc(0, "ps", "web").Service.Pid
	w.killSilently()
	fifo := w.inst().Path("fifo", "web")
	require.NoError(t, os.Rename(fifo, fifo+".aside"))
	require.NoError(t, os.Mkdir(fifo, 0o700))
	w.ok("daemon", "start")
	pid := w.pid()
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
	w.ok("stop", "web")
	w.requireNoProcess(service)
	require.Equal(t, pid, w.pid(), "%s", w.daemonLog())
	require.NoError(t, os.Remove(fifo))
	w.ok("start", "web")
	w.ok("down")
}
