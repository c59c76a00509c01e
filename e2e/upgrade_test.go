//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
)

// buildVersions makes the programs of three versions, v1.0.0 to v3.0.0, in directories v1 to v3, once.
var buildVersions = sync.OnceValue(func() error {
	for _, v := range []string{"1", "2", "3"} {
		flags := "-X github.com/hobworks/hob/internal/version.Version=v" + v + ".0.0"
		err := goBuild(false, []string{"build", "-tags", "hobfault", "-ldflags", flags, "-o", filepath.Join(bin, "v"+v) + "/",
			"github.com/hobworks/hob/cmd/client/hob", "github.com/hobworks/hob/cmd/daemon/hobd"})
		if err != nil {
			return err
		}
	}
	return nil
})

// as has this world use the programs of a version from now on.
func (w *world) as(v int) *world {
	w.t.Helper()
	require.NoError(w.t, buildVersions())
	w.bin = filepath.Join(bin, "v"+strconv.Itoa(v))
	return w
}

func (w *world) version() string {
	w.t.Helper()
	return w.doc(0, "daemon", "status").Daemon.Version
}

func (w *world) upgrades() int { return strings.Count(w.daemonLog(), "msg=upgraded") }

// TestUpgradeKeepsEverything: pid, lock, services, their logs; and the daemon is another program.
func TestUpgradeKeepsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.ok("run", "web", "--restart", "no", "--", "sh", "-c", "echo one; exec sleep 1000")
	w.ok("wait", "web", "--for", "log:one")
	before, pid := w.doc(0, "ps", "web").Service, w.pid()
	require.Equal(t, "v1.0.0", w.version())
	w.as(2)
	r := w.ok("daemon", "upgrade")
	require.Contains(t, r.stderr, fmt.Sprintf("upgraded from v1.0.0 to v2.0.0 (pid %d)", pid))
	require.Equal(t, "v2.0.0", w.version())
	require.Equal(t, pid, w.pid())
	after := w.doc(0, "ps", "web").Service
	require.Equal(t, before.Pid, after.Pid)
	require.Zero(t, after.Restarts)
	require.Equal(t, 1, after.Adopted)
	require.Equal(t, "one\n", w.ok("logs", "web").stdout)
	// How it ends is known as that of a child is.
	require.NoError(t, syscall.Kill(after.Pid, syscall.SIGUSR1))
	w.eventually("its end is known", func() bool { e := w.doc(0, "ps", "web").Service.Exit; return e != nil && e.Signal == "SIGUSR1" })
	require.NotContains(t, w.daemonLog(), "hobd was down")
	require.NoFileExists(t, w.inst().Path("upgrade.json"))
	// Once more by itself, at the next call of a newer client that needs hobd; and never down.
	w.as(3).ok("run", "more", "--", "sleep", "1000")
	require.Equal(t, "v3.0.0", w.version())
	require.Equal(t, pid, w.pid())
	w.as(1)
	w.ok("run", "older", "--", "sleep", "1000")
	e := w.failure(1, "daemon", "upgrade")
	require.Equal(t, "too_old", e.Code)
	require.Contains(t, e.Message, "it is v3.0.0, which is newer than v1.0.0")
	require.Equal(t, "v3.0.0", w.version())
	require.Equal(t, 2, w.upgrades())
}

// TestUpgradeOfNothing: no hobd is started for it.
func TestUpgradeOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(2)
	require.Contains(t, w.ok("daemon", "upgrade").stderr, "hobd is not running: the next one is v2.0.0")
	require.Zero(t, w.pid())
}

// TestTwoVersionsAlternate: there is one upgrade, and no restart.
func TestTwoVersionsAlternate(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.ok("run", "web", "--", "sleep", "1000")
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	for i := range 100 {
		w.as(1+i%2).ok("daemon", "start")
		require.Equal(t, pid, w.pid())
	}
	require.Equal(t, 1, w.upgrades())
	require.Equal(t, 1, w.starts())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
}

// contact says hello as a client of this world.
func (w *world) contact(lease bool) (*ipc.Conn, error) {
	inst := w.inst()
	c, r := probe.Contact(context.Background(), inst, probe.Hello{Protocol: [2]int{1, probe.MaxProtocol}, Root: inst.Root, Pid: os.Getpid(),
		Client: "test", Lease: lease}, ipc.ConnOptions{})
	if r.Verdict != probe.Ready {
		return nil, fmt.Errorf("%s: %w", r.Verdict, r.Err)
	}
	return c, nil
}

func init() {
	// quitter notes its start, and then how it ends after a short while, in a file.
	helpers["quitter"] = func(args []string) int {
		code := 1 + rand.IntN(100)
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return 101
		}
		if _, err := fmt.Fprintln(f, code); err != nil || f.Close() != nil {
			return 101
		}
		return code
	}
}

// load is what an upgrade has to bear.
type load struct {
	w       *world
	stop    atomic.Bool
	wg      sync.WaitGroup
	calls   atomic.Int64
	connect atomic.Int64
	tries   atomic.Int64
	failed  chan error
}

// client calls all the time: on one connection, or each time on another one.
func (l *load) client(keep bool, name string, pid int) error {
	var c *ipc.Conn
	for !l.stop.Load() {
		if c == nil {
			var err error
			if c, err = l.w.contact(l.calls.Load()%2 == 0); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			l.connect.Add(1)
		}
		r, err := api.ServiceList.Call(l.w.t.Context(), c, api.NamesParams{Names: []string{name}})
		if err != nil || len(r.Services) != 1 || r.Services[0].Pid != pid || r.Services[0].State != "running" || r.Services[0].Restarts != 0 {
			return fmt.Errorf("call: %w: %+v", err, r)
		}
		l.calls.Add(1)
		if !keep {
			_ = c.Close()
			c = nil
		}
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
	}
	if c != nil {
		return c.Close()
	}
	return nil
}

// restarter has a service that gave up go on.
func (l *load) restarter(name string) error {
	for !l.stop.Load() {
		c, err := l.w.contact(false)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		r, err := api.ServiceList.Call(l.w.t.Context(), c, api.NamesParams{Names: []string{name}})
		if err == nil && r.Services[0].State == "failed" {
			_, _ = api.ServiceStart.Call(l.w.t.Context(), c, api.NamesParams{Names: []string{name}}) // it will say that it died
		}
		_ = c.Close()
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// upgrade asks for one. Calls that are under way have a while to end in, which may be too short for the many of this load; then it is asked again.
func (l *load) upgrade() (r result) {
	for range 20 {
		if r = l.w.hob("--json", "daemon", "upgrade"); !strings.Contains(r.stdout, `"code":"sessions"`) {
			break
		}
	}
	return r
}

// locker wants the lock.
func (l *load) locker() error {
	for ; !l.stop.Load(); l.tries.Add(1) {
		fd, err := unix.Open(l.w.inst().LockPath(), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		unix.Close(fd)
		if err == nil {
			return errors.New("the lock was free")
		}
		time.Sleep(200 * time.Microsecond)
	}
	return nil
}

func (l *load) run(f func() error) {
	l.wg.Go(func() {
		if err := f(); err != nil {
			select {
			case l.failed <- err:
			default:
			}
		}
	})
}

// settledDescriptors are what a process has open once that stays as it is, by kind.
func (w *world) settledDescriptors(pid int) (kinds []string) {
	w.t.Helper()
	same := 0
	w.eventually("its descriptors stay as they are", func() bool {
		var now []string
		for _, to := range descriptors(w.t, pid) {
			now = append(now, regexp.MustCompile(`:\[\d+\]$`).ReplaceAllString(to, ""))
		}
		slices.Sort(now)
		if !slices.Equal(now, kinds) {
			kinds, same = now, 0
		}
		same++
		return same == 50
	})
	return kinds
}

// TestUpgradesUnderLoad: five services that log, one that crashes, and fifty clients (make storm; else fifteen) that call all the time, on connections of
// their own and on new ones. Nothing is refused, answered wrongly, lost or leaked, and the lock is never free.
func TestUpgradesUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	text := ""
	for i := range 5 {
		text += fmt.Sprintf("[services.chatter%d]\nrun = %s\nlog = { max = '10GB' }\n", i, helperRun("chatter", fmt.Sprintf("starts%d", i), "5ms"))
	}
	w.toml(text + "[services.quitter]\nrun = " + helperRun("quitter", "ends") + "\nrestart = 'always'\n")
	w.ok("up", "--no-wait")
	for i := range 5 {
		w.ok("wait", fmt.Sprintf("chatter%d", i))
	}
	before, pid := w.list(), w.pid()
	l := &load{w: w, failed: make(chan error, 1)}
	t.Cleanup(func() { l.stop.Store(true); l.wg.Wait() })
	for i := range max(storm(50), 15) {
		name := fmt.Sprintf("chatter%d", i%5)
		l.run(func() error { return l.client(i%2 == 0, name, before[name].Pid) })
	}
	l.run(l.locker)
	l.run(func() error { return l.restarter("quitter") })
	rounds := storm(200)
	for i := range rounds {
		w.as(2 + i%2)
		r := l.upgrade()
		if i%2 == 0 && i > 0 {
			require.Equal(t, 1, r.code, r.stdout) // an older one
			w.as(3)
			r = l.upgrade()
		}
		require.Zero(t, r.code, "round %d: %s\n%s", i, r.stdout, w.daemonLog())
		require.Equal(t, pid, w.pid())
		select {
		case err := <-l.failed:
			require.NoError(t, err, "round %d\n%s", i, w.daemonLog())
		default:
		}
	}
	l.stop.Store(true)
	l.wg.Wait()
	w.ok("stop", "quitter")
	w.ok("daemon", "upgrade")
	had := w.settledDescriptors(pid)
	for range 10 { // without clients
		w.ok("daemon", "upgrade")
	}
	require.ElementsMatch(t, had, w.settledDescriptors(pid))
	w.eventually("it has no zombies", func() bool { return len(zombiesOf(pid)) == 0 })
	t.Logf("%d upgrades, %d calls, %d connections, %d tries for the lock", w.upgrades(), l.calls.Load(), l.connect.Load(), l.tries.Load())
	require.GreaterOrEqual(t, w.upgrades(), rounds)
	after := w.list()
	for i := range 5 {
		name := fmt.Sprintf("chatter%d", i)
		require.Equal(t, before[name].Pid, after[name].Pid, name)
		require.Equal(t, 1, after[name].Generation, name)
		require.Zero(t, after[name].LogLost, name)
		w.ok("stop", name)
		w.requireWhole(name)
	}
	// How each run of the crashing one ended was seen, unless it was started again at once, of which nothing is told.
	said := w.recorded("ends")
	told := regexp.MustCompile(`service=quitter from=\w+ to=(\w+) pid=\d+ why="(?:exit (\d+))?`).FindAllStringSubmatch(w.daemonLog(), -1)
	i := -1
	for _, m := range told {
		switch m[1] {
		case "starting":
			i++
		case "backoff", "failed":
			require.Less(t, i, len(said))
			require.Equal(t, said[i], m[2], "run %d", i)
		}
	}
	require.InDelta(t, len(said), i+1, 1) // the last one was stopped
	require.Greater(t, i, rounds/4)
}

// fake writes an executable script and gives its path.
func (w *world) fake(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.home, name)
	require.NoError(w.t, writeProgram(path, []byte(text)))
	return path
}

// TestBrokenProgramsChangeNothing: a program that can't take over is found out before anything has happened, and the error says what is
// wrong with it.
func TestBrokenProgramsChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(2)
	w.ok("run", "web", "--", "sleep", "1000")
	before, pid, old := w.doc(0, "ps", "web").Service, w.pid(), filepath.Join(bin, "v1", "hobd")
	for name, c := range map[string]struct{ program, want string }{
		"not there":      {"/nonexistent/hobd", "no such file or directory"},
		"not executable": {filepath.Join(w.home, "plain"), "it can't be executed: .*permission denied"},
		"no program":     {w.fake("nonsense", "\x7fELF and then nonsense"), "it can't be executed: .*exec format error"},
		"exits":          {w.fake("exits", "#!/bin/sh\necho 'liberty.so: not found' >&2\nexit 127\n"), `it ended with exit 127: \\"liberty.so: not found\\"`},
		"crashes":        {w.fake("crashes", "#!/bin/sh\nkill -SEGV $$\n"), "it ended with killed by SIGSEGV"},
		"hangs":          {w.fake("hangs", "#!/bin/sh\nexec sleep 600\n"), "it did not say what it is within 10s"},
		"other program":  {"/bin/echo", `it is no such daemon`},
		"an older one":   {old, "is v1.0.0, which is older than v2.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "not executable" {
				require.NoError(t, os.WriteFile(c.program, nil, 0o644))
			}
			cmd := w.command("daemon", "upgrade", "--json")
			cmd.Env = append(cmd.Env, "HOB_DAEMON="+c.program)
			r := w.run(cmd)
			require.Equal(t, 1, r.code, r.stdout)
			require.Contains(t, r.stdout, `"code":"broken"`)
			require.Regexp(t, c.want, r.stdout)
			require.Equal(t, pid, w.pid())
			require.Equal(t, before.Pid, w.doc(0, "ps", "web").Service.Pid)
			require.Equal(t, "v2.0.0", w.version())
		})
	}
	require.Zero(t, w.upgrades())
	require.Equal(t, 1, w.starts())
	require.Zero(t, w.doc(0, "ps", "web").Service.Adopted)
}

// TestAProgramThatFailsLaterIsReplacedByTheOneBefore: it passes the trial and can't serve all the same. The sentry, which is of the version before,
// brings that back.
func TestAProgramThatFailsLaterIsReplacedByTheOneBefore(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"exits": "exit 5", "crashes": "kill -ABRT $$"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).as(1)
			w.ok("run", "web", "--", "sleep", "1000")
			before, pid := w.doc(0, "ps", "web").Service, w.pid()
			w.onGuard(1)
			bad := w.fake("bad", fmt.Sprintf("#!/bin/sh\n[ -n \"$HOB_SELFTEST\" ] && exec %s/v2/hobd \"$@\"\n%s\n", bin, end))
			cmd := w.as(2).command("daemon", "upgrade", "--json")
			cmd.Env = append(cmd.Env, "HOB_DAEMON="+bad)
			r := w.run(cmd)
			require.Equal(t, 1, r.code, r.stdout+r.stderr)
			require.Contains(t, r.stdout, `"code":"lost"`)
			w.eventually("the one before is back", func() bool { p := w.pid(); return p != 0 && p != pid })
			after := w.doc(0, "ps", "web").Service
			require.Equal(t, "v1.0.0", w.version())
			require.Equal(t, before.Pid, after.Pid)
			require.Equal(t, "running", after.State)
			require.Contains(t, w.daemonLog(), "the program that hobd has become is no good")
		})
	}
}

// TestExecThatFailsGoesOnAsBefore: the program goes between its trial and the exec.
func TestExecThatFailsGoesOnAsBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.ok("run", "web", "--", "sleep", "1000")
	before, pid := w.doc(0, "ps", "web").Service, w.pid()
	gone := filepath.Join(w.home, "gone")
	require.NoError(t, writeProgram(gone, fmt.Appendf(nil, "#!/bin/sh\nrm -f %s\nexec %s/v2/hobd \"$@\"\n", gone, bin)))
	cmd := w.as(2).command("daemon", "upgrade", "--json")
	cmd.Env = append(cmd.Env, "HOB_DAEMON="+gone)
	r := w.run(cmd)
	require.Equal(t, 1, r.code, r.stdout)
	require.Regexp(t, `"message":"upgrade the daemon: exec [^"]*/gone: no such file or directory","hint":"it goes on as it was"`, r.stdout)
	require.Equal(t, pid, w.pid())
	require.Equal(t, "v1.0.0", w.version())
	require.Equal(t, before.Pid, w.doc(0, "ps", "web").Service.Pid)
	w.ok("daemon", "upgrade")
	require.Equal(t, "v2.0.0", w.version())
	require.Equal(t, pid, w.pid())
}

// TestSessionsOutliveAnUpgrade: who waits, holds, listens or types sees nothing of it.
func TestSessionsOutliveAnUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.ok("run", "web", "--tty", "--restart", "no", "--", "cat")
	waits := w.background("wait", "web", "--for", "exit")
	note := filepath.Join(w.home, "held")
	holds := w.background("hold", "web", "--", "sh", "-c", "echo x >> "+note+"; while [ ! -e "+note+".end ]; do sleep 0.02; done; exit 9")
	w.eventually("the lease is had", func() bool { _, err := os.Stat(note); return err == nil })
	conn, err := w.contact(true)
	require.NoError(t, err)
	defer conn.Close()
	lease := make(chan error, 1) // of a client that does not ask again, as hob hold does
	go func() {
		_, err := api.ServiceHold.Call(t.Context(), conn, api.HoldParams{Names: []string{"web"}})
		lease <- err
	}()
	kept := w.pid()
	for i := range 5 {
		w.as(2 + i%2)
		if i%2 == 0 && i > 0 {
			continue
		}
		w.ok("daemon", "upgrade")
		require.Equal(t, kept, w.pid())
		_, err = api.ServiceInput.Call(t.Context(), conn, api.InputParams{Name: "web", Data: []byte("typed " + strconv.Itoa(i) + "\n")})
		require.NoError(t, err)
		want := "typed " + strconv.Itoa(i)
		w.eventually("it was typed", func() bool { return strings.Count(w.ok("logs", "web").stdout, want) == 2 }) // the terminal's echo, and cat
	}
	require.Empty(t, waits)
	require.Empty(t, holds)
	require.Empty(t, lease)
	require.NoError(t, os.WriteFile(note+".end", nil, 0o600))
	require.Equal(t, 9, (<-holds).code)
	text, err := os.ReadFile(note)
	require.NoError(t, err)
	require.Equal(t, "x\n", string(text))
	_, err = api.ServiceInput.Call(t.Context(), conn, api.InputParams{Name: "web", Data: []byte("\x04")}) // end of file
	require.NoError(t, err)
	require.Zero(t, (<-waits).code)
	require.Equal(t, 1, w.starts())
}

// TestCallsThatDoNotEndAreNamed: an upgrade waits for what is under way, and not for ever.
func TestCallsThatDoNotEndAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.toml("[services.slow]\nrun = ['sleep', '1000']\nready = { log = '^never$', timeout = '10m' }\n")
	up := w.command("up")
	require.NoError(t, up.Start())
	defer func() { _ = up.Process.Kill(); _ = up.Wait() }()
	w.eventually("it is started", func() bool {
		r := w.hob("ps", "slow", "--json")
		return strings.Contains(r.stdout, `"state":"starting"`)
	})
	pid := w.pid()
	e := w.as(2).failure(1, "daemon", "upgrade")
	require.Equal(t, "sessions", e.Code)
	require.Regexp(t, fmt.Sprintf(`in use by hob \(pid %d\): project.up for \d+s`, up.Process.Pid), e.Message)
	require.Equal(t, pid, w.pid())
	require.Equal(t, "v1.0.0", w.version())
	require.Equal(t, "starting", w.doc(0, "ps", "slow").Service.State)
	w.ok("stop", "slow")
	_ = up.Wait()
	w.ok("daemon", "upgrade")
	require.Equal(t, "v2.0.0", w.version())
}

// TestUpgradeWithoutDescriptorsLosesNoSocket: where they are too few to pass on all that is held nothing is let go of, and that is said.
func TestUpgradeWithoutDescriptorsLosesNoSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	const n = 60
	var file strings.Builder
	for i := range n {
		fmt.Fprintf(&file, "[services.s%d]\nrun = 'sleep 1000'\nlisten = 'unix:s%d.sock'\nidle = '1h'\n", i, i)
	}
	w.toml(file.String())
	w.ok("up")
	w.as(2)
	end := w.leaveDescriptors(n / 2)
	e := w.failure(1, "daemon", "upgrade")
	end()
	require.Contains(t, e.Message, "upgrade the daemon: duplicate the socket ")
	require.Equal(t, "v1.0.0", w.version())
	w.ok("daemon", "upgrade")
	require.Equal(t, "v2.0.0", w.version())
}

// TestNestedUpgradeIsRefused: a service has no business in replacing the daemon that runs it.
func TestNestedUpgradeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	r := w.ok("run", "--wait", "job", "--", "sh", "-c", fmt.Sprintf("%s/v2/hob daemon start; echo code $?; %s/v2/hob daemon upgrade; echo code $?; %s/v2/hob ps job >/dev/null; echo code $?", bin, bin, bin))
	require.Equal(t, 2, strings.Count(r.stdout, `this is its own service "job"`), r.stdout)
	require.Regexp(t, `(?s)code 1\n.*code 1\ncode 0\n`, r.stdout)
	require.Zero(t, w.upgrades())
	require.Equal(t, "v1.0.0", w.version())
}

// TestTermDuringUpgrades: a SIGTERM at any instant ends the daemon and what it runs, or it hits where the process is neither the one program
// nor the other: then the sentry brings the one that was meant to be, and nothing is lost. It never hangs.
func TestTermDuringUpgrades(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	stopped, brought := 0, 0
	for range storm(1000) {
		w.ok("run", "web", "--no-wait", "--", "sleep", "1000")
		service, pid := w.doc(0, "ps", "web").Service.Pid, w.pid()
		w.as(2)
		upgraded := make(chan result, 1)
		go func() { upgraded <- w.hob("daemon", "upgrade") }()
		time.Sleep(time.Duration(rand.IntN(30000)) * time.Microsecond) // any moment will do
		w.kill(pid, syscall.SIGTERM)
		r := <-upgraded
		w.eventually("it has stopped, or is another one", func() bool { p := w.pid(); return p != pid && (p != 0 || len(openers(w.inst().LockPath())) == 0) })
		if w.pid() == 0 {
			w.requireNoProcess(service)
			stopped++
		} else {
			s := w.doc(0, "ps", "web").Service
			require.Equal(t, service, s.Pid, "%s%s\n%s", r.stdout, r.stderr, w.daemonLog())
			require.Contains(t, []string{"starting", "running"}, s.State)
			require.Equal(t, "v2.0.0", w.version(), "%s%s\n%s", r.stdout, r.stderr, w.daemonLog())
			brought++
		}
		w.ok("down")
		w.ok("daemon", "stop")
		w.as(1)
	}
	t.Logf("%d stopped, %d brought back by the sentry", stopped, brought)
	require.NotZero(t, stopped)
}

// TestStopDuringUpgrade: what was promised to a client is done by the program that follows.
func TestStopDuringUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	for range storm(200) {
		w.ok("run", "web", "--no-wait", "--", "sleep", "1000")
		pid := w.pid()
		w.as(2)
		upgraded := make(chan result, 1)
		go func() { upgraded <- w.hob("daemon", "upgrade") }()
		time.Sleep(time.Duration(rand.IntN(30000)) * time.Microsecond) // any moment will do
		w.ok("daemon", "stop")
		r := <-upgraded
		w.eventually("it has stopped", func() bool { return w.pid() != pid })
		require.Zero(t, w.pid(), "%s%s\n%s", r.stdout, r.stderr, w.daemonLog())
		w.as(1)
	}
}

func init() {
	// echoer answers every line on every connection with the same line.
	helpers["echoer"] = func(args []string) int {
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			return 1
		}
		for {
			c, err := l.Accept()
			if err != nil {
				return 1
			}
			go func() { _, _ = io.Copy(c, c); _ = c.(*net.TCPConn).CloseWrite() }()
		}
	}
}

// TestForwardedConnectionsOutliveAnUpgrade: hobd is between the two, and they go on in the middle of what they say.
func TestForwardedConnectionsOutliveAnUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	addr, back := freePort(t), freePort(t)
	w.toml(fmt.Sprintf("[services.echo]\nrun = %s\nidle = '10s'\nlisten = { addr = %q, proxy = true, to = %q }\n", helperRun("echoer", back), addr, back))
	w.ok("up")
	var answers []*bufio.Reader
	var conns []net.Conn
	for range 10 {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		conns, answers = append(conns, c), append(answers, bufio.NewReader(c))
	}
	hear := func(n, i int) {
		line, err := answers[n].ReadString('\n')
		require.NoError(t, err, w.daemonLog())
		require.Equal(t, fmt.Sprintf("line %d\n", i), line)
	}
	for i := range 10 {
		for n, c := range conns {
			_, err := fmt.Fprintf(c, "line %d\n", i)
			require.NoError(t, err)
			if n%2 == 0 { // others wait through the upgrade
				hear(n, i)
			}
		}
		w.as(2).ok("daemon", "upgrade")
		for n := 1; n < len(conns); n += 2 {
			hear(n, i)
		}
	}
	for n, c := range conns {
		require.NoError(t, c.(*net.TCPConn).CloseWrite())
		if n%3 == 0 {
			w.ok("daemon", "upgrade")
		}
		_, err := answers[n].ReadString('\n')
		require.ErrorIs(t, err, io.EOF)
	}
}

// TestConnectionsOfAnotherAddressOutliveAnUpgrade: while a run is being stopped that is to listen elsewhere the next time, who is connected is served.
func TestConnectionsOfAnotherAddressOutliveAnUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	addr, other, back := freePort(t), freePort(t), freePort(t)
	file := func(addr string) {
		// A signal that it takes no notice of.
		w.toml(fmt.Sprintf("[services.web]\nrun = %s\nstop = { signal = 'WINCH', timeout = '10m' }\nlisten = { addr = %q, proxy = true, to = %q }\n",
			helperRun("echoer", back), addr, back))
	}
	file(addr)
	w.ok("up")
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	answers := bufio.NewReader(c)
	says := func(word string) {
		t.Helper()
		_, err := fmt.Fprintln(c, word)
		require.NoError(t, err)
		line, err := answers.ReadString('\n')
		require.NoError(t, err, w.daemonLog())
		require.Equal(t, word+"\n", line)
	}
	says("before")
	file(other)
	w.kill(w.pid(), syscall.SIGHUP)
	w.eventually("it is stopping", func() bool { return w.state() == "stopping" })
	says("meanwhile")
	w.as(2).ok("daemon", "upgrade")
	require.Equal(t, "stopping", w.state())
	says("after")
	w.ok("daemon", "upgrade")
	says("after another one")
}

// TestBuildsWithoutAVersion replace nobody by themselves: it is said once that the two are different, and what to do.
func TestBuildsWithoutAVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.ok("run", "web", "--", "sleep", "1000")
	w.bin = bin
	r := w.ok("run", "more", "--", "sleep", "1000")
	require.Equal(t, 1, strings.Count(r.stderr, `and hobd v1.0.0; "hob daemon upgrade" makes them one`), r.stderr)
	require.NotContains(t, w.ok("-q", "run", "more", "--", "sleep", "1000").stderr, "makes them one")
	require.Zero(t, w.upgrades())
	w.ok("daemon", "upgrade")
	require.NotEqual(t, "v1.0.0", w.version())
	require.Empty(t, w.ok("-q", "run", "more", "--", "sleep", "1000").stderr)
}

// TestForegroundHobdIsUpgraded and is in the foreground still.
func TestForegroundHobdIsUpgraded(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	cmd := w.hobd("--foreground")
	require.NoError(t, cmd.Start())
	w.eventually("it serves", func() bool { return w.pid() == cmd.Process.Pid && w.hob("daemon", "ping").code == 0 })
	w.ok("run", "web", "--", "sleep", "1000")
	service := w.doc(0, "ps", "web").Service.Pid
	w.as(2).ok("daemon", "upgrade")
	require.Equal(t, cmd.Process.Pid, w.pid())
	require.Equal(t, "v2.0.0", w.version())
	require.NoError(t, cmd.Process.Signal(os.Interrupt)) // which means nothing to one in the background
	require.NoError(t, cmd.Wait())
	w.requireNoProcess(service)
}

// TestAHerdOfNewerClientsMakesOneUpgrade however many want it in the same moment.
func TestAHerdOfNewerClientsMakesOneUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	w.ok("run", "web", "--", "sleep", "1000")
	pid := w.pid()
	w.as(2)
	for i, r := range w.atOnce(50, func(int) *exec.Cmd { return w.command("daemon", "start", "--json") }) {
		require.Zero(t, r.code, "client %d: %s", i, r.stdout)
		require.Contains(t, r.stdout, `"version":"v2.0.0"`)
	}
	require.Equal(t, 1, w.upgrades())
	require.Equal(t, pid, w.pid())
}
