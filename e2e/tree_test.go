//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/process"
)

func init() {
	// tree is a service that does not make it easy to be stopped. It has a child in its own group
	// that ignores SIGTERM and has a grandchild in a session of its own, and two strays that
	// dropped the mark and belong to nobody: one has only the lock of the service open, one only
	// its output. With an exit status as second argument it ends by itself once all are there.
	helpers["tree"] = func(args []string) int {
		dir := args[0]
		spawn(dir, "stubborn")
		spawn(dir, "lock-stray")
		spawn(dir, "output-stray")
		for _, name := range append(members, "leader") {
			for name != "leader" {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		if len(args) > 1 {
			note(dir, "leader")
			code, _ := strconv.Atoi(args[1])
			return code
		}
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		note(dir, "leader")
		<-term
		return 0
	}
	helpers["stubborn"] = func(args []string) int {
		signal.Ignore(syscall.SIGTERM)
		spawn(args[0], "session")
		note(args[0], "stubborn")
		for { // not select{}: without cgo the runtime calls that a deadlock
			time.Sleep(time.Hour)
		}
	}
	helpers["session"] = func(args []string) int {
		// Nothing is ignored by one that was executed anew: what is ignored is inherited.
		signal.Reset(syscall.SIGTERM)
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		note(args[0], "session")
		<-term
		return 0
	}
	for _, name := range []string{"lock-stray", "output-stray"} {
		// The first fork only makes the second, and ends.
		helpers[name] = func(args []string) int { spawn(args[0], name+"-2"); return 0 }
		helpers[name+"-2"] = func(args []string) int {
			if name == "output-stray" {
				_ = syscall.Close(process.LockDescriptor)
			}
			term := make(chan os.Signal, 1)
			signal.Notify(term, syscall.SIGTERM)
			note(args[0], name)
			<-term
			return 0
		}
	}
}

// members are those that the tree of the helper has besides its leader.
var members = []string{"stubborn", "session", "lock-stray", "output-stray"}

// spawn starts a helper from a helper.
func spawn(dir, name string) {
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: name != "stubborn"}
	if strings.HasSuffix(name, "-stray") {
		cmd.Env = slices.DeleteFunc(cmd.Env, func(kv string) bool { return strings.HasPrefix(kv, process.MarkName+"=") })
	}
	if strings.HasPrefix(name, "output-stray") {
		cmd.Stdout = os.Stdout
	}
	cmd.Env = append(cmd.Env, "HOB_E2E_HELPER="+name)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
	if strings.HasSuffix(name, "-stray") {
		_ = cmd.Wait()
	}
}

// note says that a helper is there, and who it is.
func note(dir, name string) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil || os.Rename(path+".new", path) != nil {
		os.Exit(98)
	}
}

// tree runs the helper of that name as service web and gives who is who, by name.
func (w *world) tree(args ...string) map[string]process.ID {
	w.t.Helper()
	self, err := os.Executable()
	require.NoError(w.t, err)
	dir := w.t.TempDir()
	w.hob(append([]string{"run", "--restart=no", "web", "--", "env", "HOB_E2E_HELPER=tree", self, dir}, args...)...)
	ids := map[string]process.ID{}
	for _, name := range append([]string{"leader"}, members...) {
		w.eventually(name+" is there", func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil })
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(w.t, err)
		pid, err := strconv.Atoi(string(data))
		require.NoError(w.t, err)
		if name == "leader" && len(args) > 0 {
			w.eventually("the leader has ended", func() bool { return !running(pid) })
			continue
		}
		ids[name], err = process.Identify(pid)
		require.NoError(w.t, err, name)
		w.t.Cleanup(func() {
			if ids[name].Alive() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
	}
	return ids
}

func (w *world) requireGone(ids map[string]process.ID) {
	w.t.Helper()
	for name, id := range ids {
		require.False(w.t, id.Alive(), "%s (pid %d) lives", name, id.Pid)
	}
	require.Empty(w.t, w.marked("web"))
}

// TestStopEndsTheWholeTree: by whatever way a service is stopped, nothing of its tree is left,
// and what had to be killed is named.
func TestStopEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	killed := func(w *world, ids map[string]process.ID, s *api.Service) {
		require.Equal(w.t, []int{ids["stubborn"].Pid}, s.Killed)
		require.Equal(w.t, "stopped", s.State)
	}
	for name, stop := range map[string]func(w *world, ids map[string]process.ID){
		"stop": func(w *world, ids map[string]process.ID) { killed(w, ids, w.doc(0, "stop", "web").Service) },
		"stop in words": func(w *world, ids map[string]process.ID) {
			require.Equal(w.t, fmt.Sprintf("web: stopped; had to kill 1 process (pid %d)\n", ids["stubborn"].Pid), w.ok("stop", "web").stderr)
			require.Contains(w.t, w.ok("ps", "web").stdout, fmt.Sprintf("had to kill pid %d", ids["stubborn"].Pid))
		},
		"down": func(w *world, ids map[string]process.ID) { killed(w, ids, &w.doc(0, "down").Services[0]) },
		"down in words": func(w *world, ids map[string]process.ID) {
			require.Contains(w.t, w.ok("down").stderr, fmt.Sprintf("web: stopped; had to kill 1 process (pid %d)\n", ids["stubborn"].Pid))
		},
		"daemon stop": func(w *world, _ map[string]process.ID) { w.ok("daemon", "stop") },
		"TERM": func(w *world, ids map[string]process.ID) {
			w.kill(w.pid(), syscall.SIGTERM)
			w.eventually("it is gone", func() bool { return len(openers(w.inst().LockPath())) == 0 })
			require.Contains(w.t, w.doc(0, "ps", "web").Service.Why, fmt.Sprintf("had to kill pid %d", ids["stubborn"].Pid))
		},
		"run --replace": func(w *world, _ map[string]process.ID) {
			w.ok("run", "--replace", "web", "--", "true")
			w.haveEnded("web")
		},
		"restart": func(w *world, ids map[string]process.ID) {
			w.ok("restart", "web")
			w.requireLeft(ids)
			w.ok("stop", "web")
		},
		"stop by the next daemon": func(w *world, ids map[string]process.ID) {
			w.kill(w.pid(), syscall.SIGKILL)
			w.ok("daemon", "start")
			killed(w, ids, w.doc(0, "stop", "web").Service)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ids := w.tree()
			pids := w.doc(0, "ps", "web").Service.Pids
			require.Len(t, pids, len(ids), "ps lists the tree")
			stop(w, ids)
			w.requireGone(ids)
		})
	}
}

// requireLeft wants those of the tree to be gone while its successor runs.
func (w *world) requireLeft(ids map[string]process.ID) {
	w.t.Helper()
	for name, id := range ids {
		require.False(w.t, id.Alive(), "%s (pid %d) lives", name, id.Pid)
	}
}

// TestLeftoversOfAnEndedService: the leader has ended by itself; ps names what lives on, and stop,
// rm, start and down end it.
func TestLeftoversOfAnEndedService(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, ids map[string]process.ID){
		"stop": func(w *world, ids map[string]process.ID) {
			s := w.doc(0, "stop", "web").Service
			require.Equal(w.t, []int{ids["stubborn"].Pid}, s.Killed)
		},
		"rm":   func(w *world, _ map[string]process.ID) { w.ok("rm", "web") },
		"down": func(w *world, _ map[string]process.ID) { w.ok("down") },
		"run": func(w *world, _ map[string]process.ID) {
			w.ok("run", "web", "--", "true")
			w.haveEnded("web")
		},
		"stop by the next daemon": func(w *world, _ map[string]process.ID) {
			w.kill(w.pid(), syscall.SIGKILL)
			w.ok("daemon", "start")
			w.ok("stop", "web")
		},
	} {
		for _, code := range []string{"0", "3"} {
			if code == "3" && name != "stop" {
				continue // each of them takes the whole grace
			}
			t.Run(name+" after exit "+code, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				ids := w.tree(code)
				s := w.doc(0, "ps", "web").Service
				w.eventually("its end is seen", func() bool { s = w.doc(0, "ps", "web").Service; return s.Exit != nil })
				require.Equal(t, map[string]string{"0": "done", "3": "failed"}[code], s.State)
				require.Equal(t, code, strconv.Itoa(s.Exit.Code))
				require.Contains(t, s.Why, fmt.Sprintf("exit %s; 4 of its processes live on (pids ", code))
				for name, id := range ids {
					require.True(t, id.Alive(), name)
					require.Contains(t, s.Why, strconv.Itoa(id.Pid), name)
				}
				end(w, ids)
				w.requireGone(ids)
			})
		}
	}
}

// TestWhatIsLeftIsNotSaidForEver: a rest that ends by itself is not in WHY any more.
func TestWhatIsLeftIsNotSaidForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := filepath.Join(w.home, "stop")
	w.ok("run", "--restart=no", "web", "--", "sh", "-c", `(until [ -e "`+stop+`" ]; do sleep 0.02; done) & exec sleep 1000`)
	w.ok("kill", "-s", "KILL", "web")
	w.eventually("it is said that something lives on", func() bool {
		return strings.Contains(w.doc(0, "ps", "web").Service.Why, "live on")
	})
	require.NoError(t, os.WriteFile(stop, nil, 0o600))
	w.eventually("it is not said any more", func() bool { return w.doc(0, "ps", "web").Service.Why == "killed by SIGKILL" })
	require.Zero(t, w.doc(0, "ps", "web").Service.Pid)
}

// TestWhatIsLeftIsNotSaidForEverAcrossDaemons: a rest that ends while nobody looks, neither. While it lives it is known, and counts.
func TestWhatIsLeftIsNotSaidForEverAcrossDaemons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "--restart=no", "web", "--", "sh", "-c", `(until [ -e end ]; do sleep 0.02; done) & exec sleep 1000`)
	w.ok("kill", "-s", "KILL", "web")
	live := func() bool { return strings.Contains(w.doc(0, "ps", "web").Service.Why, "live on") }
	w.eventually("it is said that something lives on", live)
	pid := w.doc(0, "ps", "web").Service.Pid
	w.killSilently()
	w.ok("daemon", "start")
	require.True(t, live())
	require.Equal(t, pid, w.doc(0, "ps", "web").Service.Pid)
	w.killSilently()
	w.touch("end")
	w.eventually("the rest has ended", func() bool { return len(w.marked("web")) == 0 })
	w.ok("daemon", "start")
	s := w.doc(0, "ps", "web").Service
	require.Equal(t, []any{"failed", "killed by SIGKILL", 0}, []any{s.State, s.Why, s.Pid})
}

// TestAStopThatNobodySawHasAnEnd: how the run ended is not known, and that is said; it has not ended with exit 0.
func TestAStopThatNobodySawHasAnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote(dallying) + "]\nstop.timeout = '10m'\n")
	w.ok("up")
	stop := w.follow("stop", "web")
	w.eventually("it is being stopped", func() bool { return w.list()["web"].State == "stopping" })
	stop.signal(syscall.SIGKILL) // it would start the next hobd
	<-stop.exited
	w.killSilently()
	w.touch("gate")
	w.eventually("it has ended", func() bool { return len(w.marked("web")) == 0 })
	w.ok("daemon", "start")
	s := w.doc(0, "ps", "web").Service
	require.Equal(t, "stopped", s.State)
	require.Len(t, s.Exits, 1)
}
