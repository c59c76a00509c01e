//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
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
		r, err := api.ServiceList.Call(context.Background(), c, api.NamesParams{Names: []string{name}})
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
		r, err := api.ServiceList.Call(context.Background(), c, api.NamesParams{Names: []string{name}})
		if err == nil && r.Services[0].State == "failed" {
			_, _ = api.ServiceStart.Call(context.Background(), c, api.NamesParams{Names: []string{name}}) // it will say that it died
		}
		_ = c.Close()
		time.Sleep(20 * time.Millisecond)
	}
	return nil
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

// TestUpgradesUnderLoad: five services that log, one that crashes, and fifty clients that call all the time, on connections of their
// own and on new ones. Nothing is refused, answered wrongly, lost or leaked, and the lock is never free.
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
	for i := range 50 {
		name := fmt.Sprintf("chatter%d", i%5)
		l.run(func() error { return l.client(i%2 == 0, name, before[name].Pid) })
	}
	l.run(l.locker)
	l.run(func() error { return l.restarter("quitter") })
	rounds, had := storm(200), 0
	for i := range rounds {
		r := w.as(2+i%2).hob("daemon", "upgrade")
		if i%2 == 0 && i > 0 {
			require.Equal(t, 1, r.code, r.stderr) // an older one
			r = w.as(3).hob("daemon", "upgrade")
		}
		require.Zero(t, r.code, "round %d: %s\n%s", i, r.stderr, w.daemonLog())
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
	for i := range 3 { // of the same, without clients
		w.ok("daemon", "upgrade")
		if i == 0 {
			had = len(descriptors(t, pid))
		}
	}
	w.eventually("it has no more descriptors than before", func() bool { return len(descriptors(t, pid)) <= had })
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
