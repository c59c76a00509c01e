//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/process"
)

// onGuard waits until there is one sentry, with the FIFOs of so many services.
func (w *world) onGuard(n int) (pid int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("there is exactly one sentry, and it keeps the FIFOs of %d services", n), func() bool {
		pids := w.sentries()
		if len(pids) != 1 || len(fifosOf(pids[0])) != n || !w.employs(pids[0]) {
			return false
		}
		pid = pids[0]
		return true
	})
	return pid
}

// employs reports whether a sentry is the daemon's own: an earlier one leaves only once the next one is there.
func (w *world) employs(sentry int) bool {
	info, err := process.Stat(sentry)
	return err == nil && info.PPid == w.pid()
}

// fifosOf are the FIFOs that a process has open.
func fifosOf(pid int) []string {
	var all []string
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.Contains(to, "/fifo/") {
			all = append(all, filepath.Base(to))
		}
	}
	return all
}

// back waits until another daemon than was serves, and asks nobody to start it.
func (w *world) back(was int) (pid int) {
	w.t.Helper()
	w.eventually("another hobd serves", func() bool {
		pid = w.pid()
		return pid != 0 && pid != was && w.hob("daemon", "ping").code == 0
	})
	return pid
}

// deserted waits until neither hobd nor a sentry is there.
func (w *world) deserted() {
	w.t.Helper()
	w.eventually("no hobd and no sentry is left", func() bool {
		return len(w.sentries()) == 0 && len(openers(w.inst().LockPath())) == 0
	})
}

// TestKilledHobdComesBackByItself: nobody calls hob, and there is another hobd with the same service, and one sentry.
func TestKilledHobdComesBackByItself(t *testing.T) {
	t.Parallel()
	for what, sig := range map[string]syscall.Signal{"killed by SIGKILL": syscall.SIGKILL, "exit 2": syscall.SIGQUIT} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("run", "web", "--", "sleep", "1000")
			before := w.doc(0, "ps", "web").Service
			for n := 1; n <= 3; n++ {
				sentry, was := w.onGuard(1), w.pid()
				w.kill(was, sig)
				w.back(was)
				require.EqualValues(t, n+1, w.attempts())
				w.eventually("the old sentry has gone", func() bool { return !slices.Contains(w.sentries(), sentry) })
			}
			after := w.doc(0, "ps", "web").Service
			require.Equal(t, []any{before.Pid, 1, 3, "running"}, []any{after.Pid, after.Generation, after.Adopted, after.State})
			w.eventually("it is said three times", func() bool { return strings.Count(w.daemonLog(), `msg="hobd is back"`) == 3 })
			log := w.daemonLog()
			require.Equal(t, 3, strings.Count(log, `msg="hobd is gone without a word" by=sentry pid=`))
			require.Equal(t, 3, strings.Count(log, `msg="hobd was down" from=`))
			if skips := kernelIsSilent(); !skips {
				require.Equal(t, 3, strings.Count(log, `how="`+what+`"`))
			}
		})
	}
}

// kernelIsSilent: it does not tell how a process ended that is nobody's child here.
func kernelIsSilent() bool {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	var major, minor int
	_, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor)
	return err != nil || major < 6 || major == 6 && minor < 15
}

// TestPendingServiceBringsHobdBack: nothing lives, but something is to be started.
func TestPendingServiceBringsHobdBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', 'echo run; exit 3']\nrestart = 'always'\n")
	was := 0
	w.eventually("it waits for its next run, and there is a sentry", func() bool { // a pause is short, and there are four of them
		if s := w.list()["web"]; s.State == "" || s.State == "failed" {
			w.hob("up", "--no-wait")
		}
		was = w.pid()
		w.stop(was)
		text, _ := os.ReadFile(w.inst().Path("state", "web.json"))
		if strings.Contains(string(text), `"state":"backoff"`) && len(w.sentries()) == 1 {
			return true
		}
		w.kill(was, syscall.SIGCONT)
		return false
	})
	w.kill(was, syscall.SIGKILL)
	w.back(was)
	w.eventually("it has come to its end", func() bool { return w.list()["web"].State == "failed" })
}

// TestKilledSentryIsReplaced, and the next one does what it would have done.
func TestKilledSentryIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	w.ok("run", "api", "--", "sleep", "1000")
	first, was := w.onGuard(2), w.pid()
	w.kill(first, syscall.SIGKILL)
	w.eventually("there is another one", func() bool { return !slices.Contains(w.sentries(), first) && len(w.sentries()) == 1 })
	require.NotEqual(t, first, w.onGuard(2))
	require.Contains(t, w.daemonLog(), `msg="the sentry has ended" how="killed by SIGKILL"`)
	w.kill(was, syscall.SIGKILL)
	w.back(was)
	w.onGuard(2)
	require.Len(t, w.marked("web"), 1)
}

// TestBothKilledAndTheNextCallHeals, and the log says for how long nobody was there.
func TestBothKilledAndTheNextCallHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	before := w.doc(0, "ps", "web").Service
	w.onGuard(1)
	w.killSilently()
	w.deserted()
	require.NotContains(t, w.daemonLog(), "hobd was down")
	after := w.doc(0, "ps", "web").Service
	require.Equal(t, before.Pid, after.Pid)
	w.onGuard(1)
	words := regexp.MustCompile(`msg="hobd was down" from=(\S+) to=(\S+)`).FindStringSubmatch(w.daemonLog())
	require.Len(t, words, 3, w.daemonLog())
	from, err := time.Parse(time.RFC3339Nano, words[1])
	require.NoError(t, err)
	to, err := time.Parse(time.RFC3339Nano, words[2])
	require.NoError(t, err)
	require.True(t, from.Before(to), words[0])
	require.False(t, from.Before(*before.StartedAt), words[0])
	w.ok("down")
	w.ok("daemon", "start")
	require.Equal(t, 1, strings.Count(w.daemonLog(), "hobd was down"), "after an orderly end nothing of that is said")
}

// TestLastWordsOfServiceAndHobd: both are killed in the same instant, before hobd has read the service's last line. It
// is in the log.
func TestLastWordsOfServiceAndHobd(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	w := newWorld(t)
	for i := range rounds {
		name, word := fmt.Sprintf("s%d", i), fmt.Sprintf("last words %d", i)
		said := filepath.Join(w.project, name+".said")
		w.ok("run", "--restart", "no", name, "--", "sh", "-c",
			fmt.Sprintf("until [ -e %s.go ]; do sleep 0.01; done; echo %s; echo > %s; exec sleep 1000", name, word, said))
		w.onGuard(1)
		pid, was := w.doc(0, "ps", name).Service.Pid, w.pid()
		w.stop(was)
		w.touch(name + ".go")
		w.eventually("the service has said it", func() bool { return isRegular(said) })
		w.kill(pid, syscall.SIGKILL)
		w.eventually("the service is gone", func() bool { return !running(pid) })
		w.kill(was, syscall.SIGKILL)
		w.back(was)
		s := w.doc(0, "ps", name).Service
		require.Equal(t, "failed", s.State)
		require.Contains(t, s.Why, "while hobd was down")
		require.Equal(t, word+"\n", w.ok("logs", name).stdout)
	}
}

// TestOrderlyEndsLeaveNoSentry: it goes with its hobd.
func TestOrderlyEndsLeaveNoSentry(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world){
		"down":        func(w *world) { w.ok("down") },
		"daemon stop": func(w *world) { w.ok("daemon", "stop") },
		"TERM":        func(w *world) { w.kill(w.pid(), syscall.SIGTERM) },
		"TERM twice": func(w *world) {
			pid := w.pid()
			w.kill(pid, syscall.SIGTERM)
			_ = syscall.Kill(pid, syscall.SIGTERM) // it may have gone
		},
	} {
		for _, state := range []string{"watching", "stopped"} {
			t.Run(name+" while it is "+state, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.ok("run", "web", "--", "sleep", "1000")
				sentry := w.onGuard(1)
				if state == "stopped" {
					w.stop(sentry)
				}
				end(w)
				w.eventually("hobd has gone", func() bool { return len(openers(w.inst().LockPath())) == 0 })
				w.eventually("and its sentry", func() bool { return len(w.sentries()) == 0 })
				require.Empty(t, w.marked("web"))
				require.EqualValues(t, 1, w.attempts())
			})
		}
	}
}

// TestNoServicesNoSentry: there is none before the first service, and none some time after the last.
func TestNoServicesNoSentry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	w.ok("ps")
	require.Empty(t, w.sentries())
	w.ok("run", "web", "--", "sleep", "1000")
	w.onGuard(1)
	w.ok("stop", "web")
	w.onGuard(0)
	if testing.Short() {
		return
	}
	w.eventually("it has gone", func() bool { return len(w.sentries()) == 0 })
	w.ok("start", "web")
	w.onGuard(1)
}

// TestShortServicesShareASentry: one after the other, none of them starts another.
func TestShortServicesShareASentry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "first", "--", "sleep", "1000")
	sentry := w.onGuard(1)
	w.ok("stop", "first")
	for i := range 10 {
		w.ok("run", "--wait", fmt.Sprintf("job%d", i), "--", "true")
	}
	require.Equal(t, []int{sentry}, w.sentries())
}

// TestReplacedHobdHasOneSentry: by daemon restart, and by force.
func TestReplacedHobdHasOneSentry(t *testing.T) {
	t.Parallel()
	for _, how := range [][]string{{"daemon", "restart"}, {"daemon", "restart", "--force"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("run", "web", "--", "sleep", "1000")
			pid := w.doc(0, "ps", "web").Service.Pid
			for range 3 {
				sentry, was := w.onGuard(1), w.pid()
				w.ok(append(how, next)...)
				require.NotEqual(t, was, w.pid())
				w.eventually("the old sentry has gone", func() bool { return !slices.Contains(w.sentries(), sentry) })
				w.onGuard(1)
			}
			require.Equal(t, pid, w.doc(0, "ps", "web").Service.Pid)
			require.EqualValues(t, 4, w.attempts())
			require.NotContains(t, w.daemonLog(), "hobd is gone", "it left in good order")
		})
	}
}

// TestForcedOutHobdHasOneSentry: it does not answer, and client and sentry both want to start the next one.
func TestForcedOutHobdHasOneSentry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	sentry, was := w.onGuard(1), w.pid()
	w.stop(was)
	w.ok("daemon", "restart", "--force")
	require.NotEqual(t, was, w.pid())
	w.eventually("the old sentry has gone", func() bool { return !slices.Contains(w.sentries(), sentry) })
	w.onGuard(1)
	require.Len(t, w.marked("web"), 1)
}

// TestBrokenHobdIsNotStartedOverAndOver: the sentry's tries count as everybody's do. It goes on to keep the FIFO, and
// the service lives.
func TestBrokenHobdIsNotStartedOverAndOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := filepath.Join(w.home, "broken")
	w.script(fmt.Sprintf("[ -e %s ] && { echo the disk is on fire >&2; exit 1; }\nexec %s/hobd \"$@\"", broken, w.bin))
	w.ok("run", "web", "--", "sleep", "1000")
	service, sentry := w.doc(0, "ps", "web").Service.Pid, w.onGuard(1)
	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	w.kill(w.pid(), syscall.SIGKILL)
	w.eventually("it has been told that there are too many attempts", func() bool {
		return strings.Contains(w.daemonLog(), "3 attempts failed")
	})
	require.EqualValues(t, 4, w.attempts())
	require.Equal(t, []int{sentry}, w.sentries())
	require.Len(t, fifosOf(sentry), 1)
	require.True(t, running(service))
	require.Equal(t, 4, strings.Count(w.daemonLog(), "the disk is on fire")-strings.Count(w.daemonLog(), `msg="bring hobd back"`)+1)
	if testing.Short() {
		return
	}
	require.NoError(t, os.Remove(broken))
	require.Eventually(t, func() bool { return w.pid() != 0 && w.hob("daemon", "ping").code == 0 }, 3*patience, 50*time.Millisecond,
		"mended, it comes back by itself: %s", w.daemonLog())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
}

// TestHobdThatEndsByItselfIsNotStartedOverAndOver: it serves, has a sentry, and panics. The next one waits, each time
// longer, and there are never more sentries than the last two.
func TestHobdThatEndsByItselfIsNotStartedOverAndOver(t *testing.T) {
	t.Parallel()
	if kernelIsSilent() {
		t.Skip("this kernel does not tell how hobd ended")
	}
	w := newWorld(t)
	broken := filepath.Join(w.home, "broken")
	w.script(fmt.Sprintf("unset HOB_FAULT\n[ -e %s ] && export HOB_FAULT=daemon.guarded=panic\nexec %s/hobd \"$@\"", broken, w.bin))
	w.ok("run", "web", "--", "sleep", "1000")
	service := w.doc(0, "ps", "web").Service.Pid
	w.onGuard(1)
	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	began := time.Now()
	w.kill(w.pid(), syscall.SIGQUIT)
	most := 0
	w.eventually("it has been tried often", func() bool {
		most = max(most, len(w.sentries()))
		r, _ := w.record()
		return r.Attempt >= 8
	})
	require.LessOrEqual(t, most, 4, "the last two, and who is about to leave")
	// The first try is made at once, then come 0.1 s doubling, a quarter more or less: a test of the least it takes.
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second)
	require.NoError(t, os.Remove(broken))
	w.eventually("mended, it comes back by itself", func() bool { return w.hob("daemon", "ping").code == 0 })
	w.onGuard(1)
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
}

// TestRetiredHobdIsReplacedInTheEnd: whoever wanted to start another one has not.
func TestRetiredHobdIsReplacedInTheEnd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	was := w.pid()
	w.onGuard(1)
	c := w.connect()
	_, err := c.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"hob.retire","params":{"reason":"to be replaced","client":"test"}}` + "\n"))
	require.NoError(t, err)
	w.back(was)
	require.Equal(t, 1, w.doc(0, "ps", "web").Service.Adopted)
	w.onGuard(1)
}

// TestOrphanLeavesWhenNothingIsLeft: hobd can't be started, and the last service ends.
func TestOrphanLeavesWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := filepath.Join(w.home, "broken")
	w.script(fmt.Sprintf("[ -e %s ] && exit 1\nexec %s/hobd \"$@\"", broken, w.bin))
	w.ok("run", "web", "--", "sleep", "1000")
	service := w.doc(0, "ps", "web").Service.Pid
	w.onGuard(1)
	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	w.kill(w.pid(), syscall.SIGKILL)
	w.eventually("it has tried", func() bool { return strings.Contains(w.daemonLog(), "bring hobd back") })
	require.NoError(t, os.RemoveAll(w.inst().Dir())) // with what was written down about the service
	w.kill(service, syscall.SIGKILL)
	w.deserted()
}

// TestSentryAsksItsSuccessorsHobd: a sentry that has brought hobd back does not send it away because a file is missing.
func TestSentryAsksItsSuccessorsHobd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = []string{"HOB_FAULT=sentry.connected=stop"}
	w.ok("run", "web", "--", "sleep", "1000")
	w.env = nil
	sentry, was := w.onGuard(1), w.pid()
	web := w.doc(0, "ps", "web").Service.Pid
	w.kill(was, syscall.SIGKILL)
	now := w.back(was)
	w.eventually("the sentry has called it, and stands still", func() bool {
		info, err := process.Stat(sentry)
		return err == nil && info.State == 'T'
	})
	w.eventually("it has another one", func() bool { return len(w.sentries()) == 2 })
	require.NoError(t, os.Remove(w.inst().Path("state", "web.json")))
	w.kill(sentry, syscall.SIGCONT)
	w.eventually("the sentry has gone", func() bool { return !running(sentry) })
	require.Equal(t, now, w.pid(), w.daemonLog())
	require.NotContains(t, w.daemonLog(), "msg=stopping")
	require.Equal(t, web, w.doc(0, "ps", "web").Service.Pid)
}

// TestDownAfterAKillIsTheEnd: the sentry does not bring back what somebody has just stopped.
func TestDownAfterAKillIsTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 5 {
		w.ok("run", "web", "--no-wait", "--", "sleep", "1000")
		w.onGuard(1)
		w.kill(w.pid(), syscall.SIGKILL)
		w.ok("down", next)
		require.Empty(t, w.marked("web"))
		w.deserted()
		require.Zero(t, w.pid())
	}
}

// TestSentryIsOfNoTree: it is no process of a service, and no service's end is its own. Nor is that of another project,
// whose hobd was started from inside a service.
func TestSentryIsOfNoTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inner := filepath.Join(w.home, "inner")
	require.NoError(t, os.MkdirAll(inner, 0o755))
	w.ok("run", "web", "--", "sh", "-c", fmt.Sprintf("hob -C %s run job -- sleep 1000; exec sleep 1000", inner))
	w.ok("run", "api", "--", "sleep", "1000")
	other := *w
	other.project = inner
	var before []int
	guarded := func() bool {
		before = w.sentries()
		return len(before) == 2 && len(fifosOf(before[0]))+len(fifosOf(before[1])) == 3 &&
			(w.employs(before[0]) && other.employs(before[1]) || w.employs(before[1]) && other.employs(before[0]))
	}
	w.eventually("both have a sentry that keeps what is theirs", guarded)
	for range 2 { // the second time hobd and sentry have other parents
		s := w.doc(0, "ps", "web").Service
		for _, pid := range before {
			require.NotContains(t, s.Pids, pid)
		}
		was := other.pid()
		other.kill(was, syscall.SIGKILL)
		other.back(was)
		w.eventually("the sentries are two again", guarded)
	}
	job := other.doc(0, "ps", "job").Service.Pid
	w.ok("stop", "web")
	require.Equal(t, before, w.sentries())
	require.Equal(t, job, other.doc(0, "ps", "job").Service.Pid)
	for _, pid := range before {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		require.NoError(t, err)
		require.NotContains(t, string(env), "HOB_ID=")
		require.NotContains(t, string(env), "HOB_HANDOFF=")
		info, err := process.Stat(pid)
		require.NoError(t, err)
		require.Equal(t, pid, info.Session)
	}
	require.NotContains(t, openers(w.inst().LockPath()), before[0], "it holds no lock")
	require.NotContains(t, openers(w.inst().LockPath()), before[1], "it holds no lock")
}

// TestForegroundHobdIsReplacedToo: what it looked after is not left alone.
func TestForegroundHobdIsReplacedToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.hobd("--foreground")
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	w.eventually("it serves", func() bool { return w.hob("daemon", "ping").code == 0 })
	w.ok("run", "web", "--", "sleep", "1000")
	w.onGuard(1)
	require.NoError(t, cmd.Process.Kill())
	<-ended
	w.back(cmd.Process.Pid)
	require.Len(t, w.marked("web"), 1)
	require.Equal(t, 1, w.doc(0, "ps", "web").Service.Adopted)
}

// TestRemovedProjectEndsEverything: hobd leaves after half a minute, with its services and its sentry. When it was
// killed, nobody can start another one, and the sentry leaves as well.
func TestRemovedProjectEndsEverything(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("hobd killed %v", killed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("run", "web", "--", "sh", "-c", "cd /; exec sleep 1000")
			sentry, inst := w.onGuard(1), w.inst()
			pid := w.pid()
			require.NoError(t, os.RemoveAll(w.project))
			if killed {
				w.kill(pid, syscall.SIGKILL)
			}
			require.Eventually(t, func() bool { return len(w.sentries()) == 0 && len(openers(inst.LockPath())) == 0 },
				3*patience, 50*time.Millisecond, "sentry %d", sentry)
			require.NoError(t, os.MkdirAll(w.project, 0o755))
			if !killed {
				require.Empty(t, w.marked("web"))
			}
		})
	}
}

// TestSentryByHand says whose it is.
func TestSentryByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range [][]string{{"sentry"}, {"sentry", "--project", w.project}, {"sentry", "--nonsense"}} {
		require.Equal(t, 2, w.run(w.hobd(args...)).code)
	}
	require.Contains(t, w.run(w.hobd("sentry", "--project", w.project)).stderr, "started by hobd")
	require.NoDirExists(t, w.stateDir())
}

// TestDownWhileHobdIsSentAway: a hobd that leaves for somebody else, at any moment of a down, changes nothing about its outcome.
func TestDownWhileHobdIsSentAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range storm(300) {
		w.ok("run", "web", "--no-wait", "--", "sleep", "1000")
		c, err := w.contact(true)
		require.NoError(t, err)
		down := make(chan result, 1)
		go func() { down <- w.hob("down") }()
		time.Sleep(time.Duration(rand.IntN(15000)) * time.Microsecond) // any moment will do
		_, _ = probe.RetireMethod.Call(t.Context(), c, probe.Retire{Reason: "test", Client: "test"})
		c.Close()
		r := <-down
		require.Zero(t, r.code, "%s%s\n%s", r.stdout, r.stderr, w.daemonLog())
		require.Empty(t, w.marked("web"))
		w.eventually("nobody serves", func() bool { return w.pid() == 0 })
	}
}
