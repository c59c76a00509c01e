//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

func init() {
	// listen listens on a TCP address until it is killed.
	helpers["listen"] = func(args []string) int {
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("listening")
		for {
			c, err := l.Accept()
			if err != nil {
				return 1
			}
			c.Close()
		}
	}
}

// toml writes the project's hob.toml.
func (w *world) toml(text string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.project, "hob.toml"), []byte(text), 0o644))
}

// list gives the services by name.
func (w *world) list() map[string]api.Service {
	w.t.Helper()
	all := map[string]api.Service{}
	for _, s := range w.doc(0, "ps").Services {
		all[s.Name] = s
	}
	return all
}

// read gives a file of the project, "" when it is not there.
func (w *world) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(w.project, name))
	return string(data)
}

// helperRun is the value of run for a helper of this binary.
func helperRun(args ...string) string {
	self, _ := os.Executable()
	words := append([]string{"env", "HOB_E2E_HELPER=" + args[0], self}, args[1:]...)
	for i := range words {
		words[i] = strconv.Quote(words[i])
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// gated is a service that notes its start, is ready when its gate is there, and notes its end.
func gated(name string) string {
	return fmt.Sprintf(`["sh", "-c", "echo start %[1]s >>order; trap 'echo stop %[1]s >>order; exit 0' TERM; until [ -e gate-%[1]s ]; do sleep 0.02; done; echo ready %[1]s >>order; echo is ready; while :; do sleep 0.02; done"]`, name)
}

// TestUpStartsEachWhenItsNeedsAreReady, those without an order between them at once, and down ends them the
// other way round.
func TestUpStartsEachWhenItsNeedsAreReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := ""
	for name, needs := range map[string]string{"db": "", "cache": "", "api": `"db", "cache"`, "web": `"api"`} {
		text += fmt.Sprintf("[services.%s]\nrun = %s\nneeds = [%s]\nready = { log = '^is ready$' }\n", name, gated(name), needs)
	}
	w.toml(text + "[services.tool]\nrun = 'sleep 1000'\nauto = false\n")
	up := w.follow("up")
	w.eventually("the first two are starting, the others wait", func() bool {
		return strings.Count(w.read("order"), "start ") == 2 && w.list()["web"].State == "waiting"
	})
	all := w.list()
	require.Equal(t, "starting", all["db"].State)
	require.Equal(t, "starting", all["cache"].State)
	require.Equal(t, "waiting", all["api"].State)
	require.Equal(t, "for db, cache", all["api"].Why)
	require.Equal(t, "waiting", all["web"].State)
	require.Equal(t, "stopped", all["tool"].State, "not part of a bare up")
	w.touch("gate-db")
	w.eventually("one is ready", func() bool { return w.list()["db"].State == "ready" })
	require.Equal(t, "waiting", w.list()["api"].State)
	w.touch("gate-cache")
	w.eventually("the next starts", func() bool { return strings.Contains(w.read("order"), "start api") })
	require.NotContains(t, w.read("order"), "start web")
	w.touch("gate-api")
	w.touch("gate-web")
	require.Zero(t, up.wait(), up.stderr.String())
	for _, s := range w.list() {
		require.Equal(t, s.Name != "tool", s.State == "ready", s.Name)
	}
	for _, line := range []string{`db: ready \(pid \d+\) in `, `api: waiting for db, cache`, `web: ready`} {
		require.Regexp(t, line, up.stderr.String())
	}
	r := w.ok("up")
	require.Contains(t, r.stderr, "web: already ready")
	require.Equal(t, 4, strings.Count(w.read("order"), "start "))

	w.ok("down")
	order := w.read("order")
	at := func(line string) int {
		require.Contains(t, order, line+"\n")
		return strings.Index(order, line+"\n")
	}
	require.Less(t, at("stop web"), at("stop api"))
	require.Less(t, at("stop api"), at("stop db"))
	require.Less(t, at("stop api"), at("stop cache"))
}

// TestWaitingServiceHearsOfNewNeeds: one that waits for what the file says no more is started.
func TestWaitingServiceHearsOfNewNeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const db = "[services.db]\nrun = ['sleep', '1000']\nready = { log = '^never$', timeout = '1h' }\n[services.web]\nrun = ['sleep', '1000']\n"
	w.toml(db + "needs = ['db']\n")
	w.ok("up", "--no-wait")
	w.eventually("it waits", func() bool { return w.list()["web"].State == "waiting" })
	w.toml(db)
	w.ok("up", "web", unhurried)
	require.Equal(t, "running", w.list()["web"].State)
}

// TestUpFailsNoOtherUp: who waits for a service goes on with that when somebody applies a file in which it needs more, or what it needed has gone.
func TestUpFailsNoOtherUp(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{
		"a new need":   "[services.db]\nrun = ['sleep', '1000']\nready = { log = '^never$', timeout = '1h' }\n[services.cache]\nrun = ['sleep', '1000']\n[services.web]\nrun = ['sleep', '1000']\nneeds = ['db', 'cache']\n",
		"another need": "[services.cache]\nrun = ['sleep', '1000']\nready = { log = '^never$', timeout = '1h' }\n[services.web]\nrun = ['sleep', '1000']\nneeds = ['cache']\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.toml("[services.db]\nrun = ['sleep', '1000']\nready = { log = '^never$', timeout = '1h' }\n[services.web]\nrun = ['sleep', '1000']\nneeds = ['db']\n")
			first := w.follow("up", "web")
			w.eventually("it waits", func() bool { return w.list()["web"].State == "waiting" })
			w.toml(after)
			w.ok("up", "--no-wait")
			w.eventually("what it needs now is there", func() bool { return w.list()["cache"].Pid != 0 })
			require.Equal(t, "waiting", w.list()["web"].State, w.daemonLog())
			select {
			case <-first.exited:
				t.Error(first.stderr)
			default:
			}
		})
	}
}

// TestUpByNameStartsWhatItNeeds and nothing else.
func TestUpByNameStartsWhatItNeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml(`
services.db.run = "sleep 1000"
services.api = { run = "sleep 1000", needs = ["migrate"] }
services.migrate = { run = "echo migrated >>runs", needs = ["db"] }
services.api.needs = { migrate = "done" }
services.web.run = "sleep 1000"
`[1:])
	e := w.failure(2, "up", "api")
	require.Equal(t, "bad_config", e.Code)
	w.toml(`
[services]
db = { run = "sleep 1000" }
migrate = { run = "echo migrated >>runs", needs = ["db"] }
api = { run = "sleep 1000", needs = { migrate = "done" } }
web = { run = "sleep 1000" }
`)
	d := w.doc(0, "up", "api")
	var names []string
	for _, s := range d.Services {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"db", "migrate", "api"}, names)
	for name, state := range map[string]string{"db": "running", "migrate": "done", "api": "running", "web": "stopped"} {
		require.Equal(t, state, w.list()[name].State, name)
	}
	// What has done its work is not done again, until down.
	w.ok("up", "api")
	require.Equal(t, "migrated\n", w.read("runs"))
	w.ok("down")
	w.ok("up", "api")
	require.Equal(t, "migrated\nmigrated\n", w.read("runs"))
	for name, s := range w.list() {
		require.Zero(t, s.Restarts, "%s: a start that waited for a need is no restart", name)
	}
	require.Equal(t, 4, w.hob("up", "nothing").code)
	require.Contains(t, w.failure(1, "run", "web", "--", "sleep", "1").Message, "hob.toml")
	// start takes what is needed along, too.
	w.ok("stop", "api", "db")
	w.ok("start", "api")
	require.Equal(t, "running", w.list()["db"].State)
}

// TestUpTouchesOnlyWhatIsDifferent, with a client and by SIGHUP.
func TestUpTouchesOnlyWhatIsDifferent(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]func(w *world, done func() bool){
		"up": func(w *world, _ func() bool) { w.ok("up") },
		"SIGHUP": func(w *world, done func() bool) {
			w.kill(w.pid(), syscall.SIGHUP)
			w.eventually("the file is applied", done)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.toml("[services]\nsame.run='sleep 1000'\nother.run='sleep 1000'\ngone.run='sleep 1000'\nset.run='sleep 1000'\n")
			w.ok("run", "adhoc", "--", "sleep", "1000")
			w.ok("up")
			before := w.list()
			w.toml("[services]\nsame={run='sleep 1000', stop={timeout='9s'}, restart='always'}\nother.run='sleep 2000'\nset={run='sleep 1000', env={A='1'}}\nnew.run='sleep 1000'\n")
			apply(w, func() bool {
				all := w.list()
				return all["new"].State == "running" && all["other"].State == "running" && all["set"].State == "running"
			})
			after := w.list()
			require.NotContains(t, after, "gone")
			for _, name := range []string{"same", "adhoc"} {
				require.Equal(t, before[name].Pid, after[name].Pid, name)
			}
			require.Equal(t, "always", after["same"].Restart)
			for _, name := range []string{"other", "set"} {
				require.NotEqual(t, before[name].Pid, after[name].Pid, name)
				require.Zero(t, after[name].Restarts, name)
			}
			require.Equal(t, "running", after["new"].State)
			require.Equal(t, []string{"A"}, w.doc(0, "ps", "set").Service.EnvSet)
			w.requireNoProcess(before["gone"].Pid)

			// A file that can't be used changes nothing.
			w.toml("[services]\nsame.run='sleep 3000'\nother.rnu='sleep 2000'\n")
			if name == "up" {
				e := w.failure(2, "up")
				require.Equal(t, `hob.toml:3:7: service "other": unknown key "rnu" (did you mean "run"?)`, e.Message)
			} else {
				w.kill(w.pid(), syscall.SIGHUP)
				w.eventually("it is in the log", func() bool { return strings.Contains(w.daemonLog(), `unknown key`) })
			}
			for name, s := range w.list() {
				require.Equal(t, after[name].Pid, s.Pid, name)
			}
		})
	}
}

// TestSIGHUPLeavesStoppedServicesStopped: nobody asked for them.
func TestSIGHUPLeavesStoppedServicesStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services]\na.run='sleep 1000'\nb.run='sleep 1000'\n")
	w.ok("up")
	w.ok("stop", "a")
	w.toml("[services]\na.run='sleep 1000'\nb.run='sleep 1000'\nc.run='sleep 1000'\n")
	w.kill(w.pid(), syscall.SIGHUP)
	w.eventually("the new one runs", func() bool { return w.list()["c"].State == "running" })
	require.Equal(t, "stopped", w.list()["a"].State)
}

// requireNoProcess fails when the process still runs.
func (w *world) requireNoProcess(pid int) {
	w.t.Helper()
	require.Positive(w.t, pid)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		require.Contains(w.t, string(stat), ") Z ")
	}
}

// TestReadiness: every way to be ready, each not before.
func TestReadiness(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	for name, c := range map[string]struct{ run, ready string }{
		"log":    {`["sh", "-c", "WAIT; echo now listening; sleep 1000"]`, `log = "now listen.ng"`},
		"tcp":    {`["sh", "-c", "WAIT; exec \"$@\"", "sh", ` + helperRun("listen", addr)[1:], fmt.Sprintf("tcp = %q", addr)},
		"exec":   {`["sh", "-c", "WAIT; touch made; sleep 1000"]`, `exec = "test -e made"`},
		"fd":     {`["sh", "-c", "WAIT; echo >&5; exec 5>&-; sleep 1000"]`, `fd = 5`},
		"notify": {helperRun("notify", "gate"), `notify = true`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			run := strings.ReplaceAll(c.run, "WAIT", "until [ -e gate ]; do sleep 0.02; done")
			w.toml(fmt.Sprintf("[services.web]\nrun = %s\nready = { %s }\n", run, c.ready))
			up := w.follow("up")
			w.eventually("it is starting", func() bool { s := w.list()["web"]; return s.State == "starting" && s.Pid != 0 })
			// It has lived for long enough to count as running, were it not for its readiness.
			w.ok("run", "clock", "--", "sleep", "1000")
			require.Equal(t, "starting", w.list()["web"].State)
			w.touch("gate")
			require.Zero(t, up.wait(), up.stderr.String())
			s := w.list()["web"]
			require.Equal(t, "ready", s.State)
			require.Zero(t, s.Restarts)
			if name == "notify" {
				w.eventually("it says what it does", func() bool { return w.list()["web"].Why == "serving" })
			}
		})
	}
}

// TestReadinessAcrossTheDaemonsDeath: hobd is killed while a service is starting; the next one sees it become
// ready all the same.
func TestReadinessAcrossTheDaemonsDeath(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ run, ready string }{
		"log":    {`["sh", "-c", "WAIT; echo up; sleep 1000"]`, `log = "^up$"`},
		"fd":     {`["sh", "-c", "WAIT; echo >&5; exec 5>&-; sleep 1000"]`, `fd = 5`},
		"notify": {helperRun("notify", "gate"), `notify = true`},
	} {
		for _, when := range []string{"before", "while nobody looks"} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				if name == "notify" && when != "before" {
					t.Skip("a datagram to nobody is lost: sd_notify(3)")
				}
				w := newWorld(t)
				run := strings.ReplaceAll(c.run, "WAIT", "until [ -e gate ]; do sleep 0.02; done")
				w.toml(fmt.Sprintf("[services.web]\nrun = %s\nready = { %s }\n", run, c.ready))
				w.ok("up", "--no-wait")
				before := w.list()["web"]
				require.Equal(t, "starting", before.State)
				if when == "before" {
					w.kill(w.pid(), syscall.SIGKILL)
					w.eventually("another daemon is there", func() bool { return w.list()["web"].Adopted > 0 })
					w.touch("gate")
				} else {
					w.killSilently()
					w.touch("gate")
				}
				w.eventually("it is ready", func() bool { return w.list()["web"].State == "ready" })
				require.Equal(t, before.Pid, w.list()["web"].Pid)
			})
		}
	}
}

// TestNotReadyInTime: a run that is not ready is ended, and the policy says what follows.
func TestNotReadyInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', 'echo my last words; exec sleep 1000']\nready = { log = 'never', timeout = '15s' }\nrestart = 'no'\n")
	up := w.background("up")
	pid := 0
	w.eventually("it has been started", func() bool { pid = w.list()["web"].Pid; return pid != 0 })
	r := <-up
	require.Equal(t, 1, r.code)
	require.Regexp(t, `(?m)^ +my last words$`, r.stderr)
	require.Regexp(t, `service "web": .*never`, r.stderr)
	require.Equal(t, "failed", w.doc(0, "ps", "web").Service.State)
	w.requireNoProcess(pid)
	require.Empty(t, w.marked("web"))
	require.Equal(t, 3, w.hob("wait", "web").code)
}

// TestNotReadyAcrossTheDaemonsDeath: the policy says what follows, also when the run ends while nobody looks.
func TestNotReadyAcrossTheDaemonsDeath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote("echo run >>runs; "+dallying) + "]\nready = { log = 'never', timeout = '15s' }\nrestart = 'no'\nstop.timeout = '10m'\n")
	w.ok("up", "--no-wait")
	w.eventually("it is given up", func() bool { return w.list()["web"].State == "stopping" })
	pid := w.list()["web"].Pid
	w.killSilently()
	w.touch("gate")
	w.eventually("the run has ended", func() bool { return !running(pid) })
	w.ok("daemon", "start")
	s := w.list()["web"]
	require.Equal(t, "failed", s.State, s.Why)
	require.Contains(t, s.Why, "never")
	require.Equal(t, "run\n", w.read("runs"))
}

// TestTakenPort: a service whose port somebody else has does not look ready, and the error names who has it.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := freePort(t)
	_, port, _ := net.SplitHostPort(addr)
	w.ok("run", "squatter", "--", "sh", "-c", "exec "+shellWords("env", "HOB_E2E_HELPER=listen", self(t), addr))
	w.ok("wait", "squatter", "--for", "log:listening")
	pid := w.list()["squatter"].Pid
	w.toml(fmt.Sprintf("[services.web]\nrun = 'sleep 1000'\nready = { tcp = %q }\n", addr))
	e := w.failure(1, "up")
	require.Equal(t, "start_failed", e.Code)
	require.Regexp(t, fmt.Sprintf(`port %s is held by \S+ \(pid %d\)`, port, pid), e.Message)
	require.Equal(t, "failed", w.list()["web"].State)
	require.Equal(t, pid, w.list()["squatter"].Pid)

	// And it is not ready by an answer of somebody else who came later.
	w.ok("stop", "squatter")
	w.toml(fmt.Sprintf("[services.web]\nrun = ['sh', '-c', 'touch there; sleep 1000']\nready = { tcp = %q }\nrestart = 'no'\n", addr))
	up := w.follow("up")
	w.eventually("it runs", func() bool { return w.read("there") != "" || fileExists(filepath.Join(w.project, "there")) })
	w.ok("start", "squatter")
	require.Equal(t, 1, up.wait(), up.stderr.String())
	require.Regexp(t, `held by \S+ \(pid \d+\)`, up.stderr.String())
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func self(t *testing.T) string {
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// shellWords quotes words for sh.
func shellWords(words ...string) string {
	for i := range words {
		words[i] = "'" + words[i] + "'"
	}
	return strings.Join(words, " ")
}

func init() {
	// notify waits for a file and then tells its manager that it is ready, as sd_notify(3) has it.
	helpers["notify"] = func(args []string) int {
		for !fileExists(args[0]) {
			time.Sleep(20 * time.Millisecond)
		}
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		if _, err := c.Write([]byte("READY=1\nSTATUS=serving")); err != nil {
			fmt.Println(err)
			return 1
		}
		time.Sleep(time.Hour)
		return 0
	}
}

// TestMalformedFilesChangeNothing: exit 2, one clear message with its place, and what runs runs on. The table
// of all kinds is config's own.
func TestMalformedFilesChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services]\nweb.run='sleep 1000'\n")
	w.ok("up")
	before := w.list()["web"]
	for text, want := range map[string]string{
		"[services.web\n":          `^hob.toml:1:`,
		"[services.web]\nrun=''\n": `^hob.toml:2:5: service "web": run`,
		"[services.web]\nrun='x'\nneeds=['bd']\n[services.db]\nrun='y'\n":          `^hob.toml:3:8: service "web": .*"bd".*did you mean "db"`,
		"[services.a]\nrun='x'\nneeds=['b']\n[services.b]\nrun='x'\nneeds=['a']\n": `a → b → a`,
		"[services.web]\nrun='x'\nready={tcp='5432'}\n":                            `^hob.toml:3:`,
		"[services.web]\nrun='x'\nrestart='sometimes'\n":                           `^hob.toml:3:9: `,
		"\xff\xfe\x00": `^hob.toml`,
	} {
		w.toml(text)
		for _, verb := range []string{"up", "check"} {
			e := w.failure(2, verb)
			require.Equal(t, "bad_config", e.Code)
			require.Regexp(t, want, e.Message, "hob %s of %q", verb, text)
		}
		now := w.list()["web"]
		require.Equal(t, before.Pid, now.Pid)
		require.Equal(t, "running", now.State)
	}
}

// TestLogsAreRotated by the bounds of the file, and a follower reads over the ends of segments.
func TestLogsAreRotated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.web]\nrun = ['sh', '-c', 'for n in $(seq 20); do until [ -e go-$n ]; do sleep 0.01; done; for i in $(seq 100); do echo $n line $i of a service that has something to say; done; done; sleep 1000']\n" +
		"log = { max = '8KB', keep = 2 }\n")
	w.ok("up")
	f := w.follow("logs", "-f", "web")
	for n := range 20 {
		w.touch(fmt.Sprintf("go-%d", n+1))
		f.until(fmt.Sprintf(`^%d line 100 of`, n+1)) // it keeps up
	}
	require.Equal(t, 2000, strings.Count(f.text(), "\n"))
	files := w.segmentFiles("web")
	require.LessOrEqual(t, len(files), 4)
	for _, path := range files {
		fi, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was the oldest
		}
		require.NoError(t, err)
		require.LessOrEqual(t, fi.Size(), int64(2*8000))
	}
	require.Contains(t, w.ok("logs", "-n1", "web").stdout, "20 line 100 of")
}

// TestProcfile: each process has a port of its own that nobody has, and keeps it; nothing is started again.
func TestProcfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := 5100
	if taken, err := net.Listen("tcp", ":5100"); err == nil { // else somebody else has it, perhaps for a moment only
		defer taken.Close()
		first++
	}
	procfile := filepath.Join(w.project, "Procfile")
	require.NoError(t, os.WriteFile(procfile, []byte("# two\nweb: echo port $PORT; exec sleep 1000\nworker:echo port $PORT; exec sleep 1000\n"), 0o644))
	w.ok("up")
	ports := map[string]string{}
	for _, name := range []string{"web", "worker"} {
		w.ok("wait", name, "--for", "log:port")
		ports[name] = strings.TrimSpace(strings.TrimPrefix(w.ok("logs", name).stdout, "port "))
		n, err := strconv.Atoi(ports[name])
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, first)
		require.Equal(t, "Procfile", w.list()[name].Source)
	}
	require.NotEqual(t, ports["web"], ports["worker"])
	before := w.list()
	w.ok("up")
	for name, s := range w.list() {
		require.Equal(t, before[name].Pid, s.Pid, name)
	}
	w.ok("restart", "web")
	require.Equal(t, "port "+ports["web"]+"\n", w.ok("logs", "-n1", "web").stdout)
	w.kill(before["worker"].Pid, syscall.SIGKILL)
	w.eventually("its end is seen", func() bool { return w.list()["worker"].State == "failed" })

	require.NoError(t, os.WriteFile(procfile, []byte("web: sleep 1000\nno process here\n"), 0o644))
	e := w.failure(2, "up")
	require.Regexp(t, `^Procfile:2:`, e.Message)
}

// TestFailingStartsLeakNothing: what is made for a run's readiness goes with a run that comes to nothing.
func TestFailingStartsLeakNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services]\nfd = { run = ['./not-a-program'], ready = { fd = 5 } }\nnotify = { run = ['./not-a-program'], ready = { notify = true } }\n")
	require.NoError(t, writeProgram(filepath.Join(w.project, "not-a-program"), []byte("no #! line")))
	w.hob("up")
	before := len(descriptors(t, w.pid()))
	for range 10 {
		require.Equal(t, 1, w.hob("start", "fd").code)
		require.Equal(t, 1, w.hob("start", "notify").code)
	}
	w.eventually("it has no more descriptors than before", func() bool { return len(descriptors(t, w.pid())) <= before })
}

// TestUpShowsWhyANeedFailed: also that of one which had counted as running for a moment.
func TestUpShowsWhyANeedFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.toml("[services.first]\nrun = ['sh', '-c', 'sleep 0.6; echo the reason; exit 1']\nrestart = 'no'\n[services.second]\nrun = ['sleep', '1000']\nneeds = { first = 'done' }\n")
	r := w.hob("up")
	require.Equal(t, 1, r.code)
	require.Regexp(t, `(?m)^ +the reason$`, r.stderr)
	require.Contains(t, r.stderr, `service "first": exit 1`)
}

// TestNewestFileIsApplied: who has to wait for another one's up applies what the file says when it is his turn.
func TestNewestFileIsApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := func(run string) { w.toml("[services.web]\nrun = " + run + "\nstop.timeout = '10m'\n") }
	file("['sh', '-c', " + strconv.Quote(dallying) + "]")
	w.ok("up")
	connections := func() int { return w.doc(0, "daemon", "status").Daemon.Connections }
	w.eventually("nobody else is connected", func() bool { return connections() == 1 })
	file("['sleep', '1001']")
	first := w.follow("up")
	w.eventually("the old run is being stopped", func() bool { return w.list()["web"].State == "stopping" })
	second := w.follow("up")
	w.eventually("both wait", func() bool { return connections() >= 3 })
	file("['sleep', '1002']")
	w.touch("gate")
	require.Zero(t, first.wait())
	require.Zero(t, second.wait())
	require.Equal(t, []string{"sleep", "1002"}, w.list()["web"].Cmd, w.daemonLog())
}

// TestUpCutsNobodysGrace but that of what it stops itself: who gives up waiting for up does not end what somebody else stops with patience.
func TestUpCutsNobodysGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := func(env string) {
		w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote(dallying) + "]\nstop.timeout = '10m'\nenv = { " + env + " = '1' }\n[services.db]\nrun = 'sleep 1000'\n")
	}
	file("BEFORE")
	w.ok("up")
	pid := w.list()["web"].Pid
	stop := w.follow("stop", "web")
	w.eventually("it is being stopped", func() bool { return w.list()["web"].State == "stopping" })
	file("AFTER")
	up := w.follow("up", "db")
	w.eventually("up has read the file", func() bool { return slices.Contains(w.doc(0, "ps", "web").Service.EnvSet, "AFTER") })
	up.signal(syscall.SIGINT)
	up.wait()
	w.eventually("hobd has noticed", func() bool { return w.doc(0, "daemon", "status").Daemon.Connections == 2 })
	require.True(t, running(pid), w.daemonLog())
	w.touch("gate")
	require.Zero(t, stop.wait())
	s := w.list()["web"]
	require.Equal(t, "stopped", s.State, "somebody has stopped it")
	require.Empty(t, s.Why, "nobody had to kill it")
}
