//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/process"
)

// faultPoints are the names of all fault points in the code.
func faultPoints(t *testing.T) []string {
	t.Helper()
	var names []string
	re := regexp.MustCompile(`fault\.Point\("([^"]+)"\)`)
	err := filepath.WalkDir("..", func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range re.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
		return err
	})
	require.NoError(t, err)
	slices.Sort(names)
	return slices.Compact(names)
}

// scenario is a way through the programs, during which somebody is killed; afterwards the next
// client must succeed. Every call of hob in it may fail, but none may hang.
type scenario struct {
	name   string
	points *regexp.Regexp // that this scenario passes
	runs   bool           // there is a service, so there may be a sentry, which starts daemons that have the fault, too
	before func(w *world) // without the fault
	act    func(w *world) // with it
	after  func(w *world) // without it: what must hold then
}

// next is a time-out below every one that hob has by itself: a client that waited for one of
// those would miss it.
const next = "--timeout=7s"

// unhurried is a time-out for what a busy machine may take seconds for: many calls at once, or those whose system calls are all asked about. Only
// a hang takes so long.
const unhurried = "--timeout=30s"

var scenarios = []scenario{
	{
		name:   "start",
		points: regexp.MustCompile(`^(client\.(connect|guarded|locked|recorded|spawned)|daemon\.[a-z-]+)$`),
		act:    func(w *world) { w.hob("daemon", "start", next) },
		after:  func(w *world) {},
	},
	{
		name:   "stop",
		points: regexp.MustCompile(`^daemon\.stop\..*$`),
		act: func(w *world) {
			w.hob("daemon", "start", next)
			w.hob("daemon", "stop", next)
		},
		after: func(w *world) {},
	},
	{
		name:   "failing start",
		points: regexp.MustCompile(`^client\.failure-recorded$`),
		before: func(w *world) {
			require.NoError(w.t, os.MkdirAll(w.inst().Dir(), 0o700))
			require.NoError(w.t, os.MkdirAll(w.inst().Path("hob.pid"), 0o700))
		},
		act:   func(w *world) { w.hob("daemon", "start", next) },
		after: func(w *world) {},
	},
	{
		name:   "run",
		points: regexp.MustCompile(`^service\.(before-fork|forked)$`),
		runs:   true,
		act:    func(w *world) { w.hob("run", "web", next, "--", "sleep", "1000") },
		after:  func(w *world) { w.oneService("web") },
	},
	{
		name:   "service stop",
		points: regexp.MustCompile(`^service\.terminating$`),
		runs:   true,
		act: func(w *world) {
			w.hob("run", "web", next, "--", "sleep", "1000")
			w.hob("stop", "web", next)
		},
		after: func(w *world) {
			w.ok("stop", "web", next)
			require.Empty(w.t, w.marked("web"))
		},
	},
	{
		name:   "killed hobd",
		points: regexp.MustCompile(`^sentry\.[a-z]+$`),
		runs:   true,
		act: func(w *world) {
			w.ok("run", "web", next, "--", "sleep", "1000")
			w.onGuard(1)
			w.kill(w.pid(), syscall.SIGKILL)
		},
		after: func(w *world) { w.oneService("web") },
	},
	{
		name:   "upgrade",
		points: regexp.MustCompile(`^daemon\.upgrade\.[a-z]+$`),
		runs:   true,
		act: func(w *world) {
			w.ok("run", "web", next, "--", "sleep", "1000")
			w.hob("daemon", "upgrade", next)
		},
		after: func(w *world) { w.oneService("web") },
	},
}

// exceptions are passed only where something was removed under a running daemon:
// TestInstanceDirectoryRemoved goes there.
var exceptions = []string{"daemon.republished"}

// oneService asks for the service once more: there is exactly one of it then, whoever started it.
func (w *world) oneService(name string) {
	w.t.Helper()
	w.ok("run", name, next, "--", "sleep", "1000")
	require.Len(w.t, w.marked(name), 1)
}

// marked are the processes that carry the mark of the service.
func (w *world) marked(name string) []process.Marked {
	w.t.Helper()
	found, err := process.FindMarked(w.inst().ID + "/" + name + "/")
	require.NoError(w.t, err)
	return found
}

// TestKilledAtEveryStep kills client or daemon at every named step of start and stop. The next
// client succeeds without waiting for a time-out.
func TestKilledAtEveryStep(t *testing.T) {
	covered := slices.Clone(exceptions)
	for _, s := range scenarios {
		for _, point := range faultPoints(t) {
			if !s.points.MatchString(point) || slices.Contains(exceptions, point) {
				continue
			}
			covered = append(covered, point)
			t.Run(s.name+"/"+point, func(t *testing.T) {
				t.Parallel()
				s.play(t, point)
			})
		}
	}
	for _, point := range faultPoints(t) {
		require.Contains(t, covered, point, "no scenario passes this fault point")
	}
}

func (s scenario) play(t *testing.T, point string) {
	w := newWorld(t)
	trace := filepath.Join(w.home, "trace")
	if s.before != nil {
		s.before(w)
	}
	w.env = []string{"HOB_FAULT=" + point + "=kill", "HOB_FAULT_LOG=" + trace}
	s.act(w)
	w.env = nil
	w.eventually("the scenario passes its fault point, and whoever did is dead", func() bool {
		passed, err := os.ReadFile(trace)
		killed := regexp.MustCompile(`(?m)^(\d+) `+regexp.QuoteMeta(point)+`$`).FindAllStringSubmatch(string(passed), -1)
		for _, m := range killed {
			pid, _ := strconv.Atoi(m[1])
			if id, err := process.Identify(pid); err == nil && id.Alive() {
				return false
			}
		}
		// Nor is one on its way there: it would answer the next client, and die.
		dying := strings.HasPrefix(point, "daemon.") && s.name != "upgrade" && len(openers(w.inst().LockPath())) > 0
		return err == nil && len(killed) > 0 && !dying
	})
	if s.runs {
		w.endDaemon(w.inst().LockPath())
	}
	if s.before != nil {
		require.NoError(t, os.RemoveAll(w.inst().Path("hob.pid")))
	}
	w.ok("daemon", "start", next)
	s.after(w)
	w.ok("daemon", "ping", next)
	w.lockedBy(1)
	w.ok("down", next)
	require.Empty(t, openers(w.inst().LockPath()))
	require.ElementsMatch(t, leftOvers(t, w), []string{}, "files that a killed process left")
}

// leftOvers are temporary names in the instance directory.
func leftOvers(t *testing.T, w *world) []string {
	left := []string{}
	require.NoError(t, filepath.WalkDir(w.stateDir(), func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.Contains(e.Name(), ".new-") {
			left = append(left, path)
		}
		return err
	}))
	return left
}

// TestKilledDaemonsServicesLiveOn: SIGKILL of hobd, and the next client has the same service
// with the same pid, and its log.
func TestKilledDaemonsServicesLiveOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", "echo one; sleep 1000")
	w.ok("wait", "web", "--for", "log:one")
	before := w.doc(0, "ps", "web").Service
	w.killSilently()
	after := w.doc(0, "ps", "web").Service
	require.Equal(t, "running", after.State)
	require.Equal(t, before.Pid, after.Pid)
	require.Equal(t, before.StartedAt, after.StartedAt)
	require.Equal(t, 1, after.Adopted)
	require.Equal(t, "one\n", w.ok("logs", "web").stdout)
}

// TestLostStateIsRebuilt: the state files are gone or junk when the next daemon comes; the
// services are found by their marks all the same, and none is started twice.
func TestLostStateIsRebuilt(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(w *world) error{
		"removed": func(w *world) error { return os.RemoveAll(w.inst().Path("state")) },
		"junk":    func(w *world) error { return os.WriteFile(w.inst().Path("state", "web.json"), []byte("{"), 0o600) },
		"empty":   func(w *world) error { return os.WriteFile(w.inst().Path("state", "web.json"), nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ok("run", "web", "--", "sleep", "1000")
			before := w.doc(0, "ps", "web").Service
			w.killSilently()
			require.NoError(t, lose(w))
			w.ok("daemon", "start")
			after := w.doc(0, "ps", "web").Service
			require.Equal(t, before.Pid, after.Pid)
			require.Equal(t, before.Cmd, after.Cmd)
			require.Equal(t, before.Dir, after.Dir)
			require.Equal(t, "running", after.State)
			require.Equal(t, before.Pid, w.doc(0, "run", "web", "--", "sleep", "1000").Service.Pid)
			require.Len(t, w.marked("web"), 1)
		})
	}
}

// TestPsOutlivesTheDaemonItAsked: hobd is killed after it has taken the question, and before it answers. Asking changes nothing, so hob asks the next one.
func TestPsOutlivesTheDaemonItAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	w.killSilently()
	w.env = []string{"HOB_FAULT=daemon.adopting=sleep"} // so questions have to wait
	w.ok("daemon", "start")
	w.env = nil
	pid, had := w.pid(), w.doc(0, "daemon", "status").Daemon.Connections
	done := make(chan result, 1)
	cmd := w.command("ps")
	go func() { done <- w.run(cmd) }()
	w.eventually("it has asked", func() bool { return w.doc(0, "daemon", "status").Daemon.Connections > had })
	w.kill(pid, syscall.SIGKILL)
	r := <-done
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "running")
}
