//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hobd is a call of the daemon's program by hand.
func (w *world) hobd(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.bin, "hobd"), args...)
	cmd.Dir, cmd.Env = w.project, w.environ()
	return cmd
}

// TestForeground: a hobd that was typed by hand has the same lock: clients use it, none starts
// a second one beside it, and neither can another hand. INT ends it, with its services.
func TestForeground(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.hobd("--foreground")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	w.eventually("it serves", func() bool { return w.hob("daemon", "ping").code == 0 })
	require.Equal(t, cmd.Process.Pid, w.pid())
	w.ok("run", "web", "--", "sleep", "1000")
	require.Equal(t, cmd.Process.Pid, w.doc(0, "daemon", "start").Daemon.Pid)
	second := w.run(w.hobd("--foreground"))
	require.Equal(t, 1, second.code)
	require.Contains(t, second.stderr, fmt.Sprintf("another daemon has the lock (pid %d)", cmd.Process.Pid))
	require.Contains(t, second.stderr, "hob daemon stop")
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, <-ended, stderr.String())
	require.Empty(t, w.marked("web"))
	w.ok("daemon", "start")
	w.ok("daemon", "stop")
}

// TestForegroundBesideTheBackground: typed by hand, it leaves the one that a client has started alone.
func TestForegroundBesideTheBackground(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid := w.pid()
	r := w.run(w.hobd("--foreground"))
	require.Equal(t, 1, r.code)
	require.Empty(t, r.stdout)
	require.Equal(t, fmt.Sprintf("hobd: serve %s: another daemon has the lock (pid %d)\n"+
		"hobd: hint: clients use that one as it is; to end it and its services: hob daemon stop\n", w.project, pid), r.stderr)
	require.Equal(t, pid, w.pid())
	require.Len(t, w.marked("web"), 1)
}

// typed is hobd on a terminal whose shell has inherited somebody's NOTIFY_SOCKET.
func (w *world) typed(n *notified) *person {
	w.t.Helper()
	cmd := w.hobd("--foreground")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+n.path)
	p := w.seat(cmd)
	p.sees("serving")
	p.sees(w.project)
	return p
}

// TestCtrlC stops services in good order, and a second one does not wait for them any more.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := newNotified(t)
	p := w.typed(n)
	w.toml("[services.deaf]\nrun = ['sh', '-c', 'trap : TERM; echo deaf; while :; do sleep 0.05; done']\nready = { log = '^deaf$' }\nstop = { timeout = '10m' }\n" +
		"[services.web]\nrun = 'sleep 1000'\n")
	w.ok("up")
	p.types("\x03")
	p.sees("stopping")
	w.eventually("one has gone", func() bool { return len(w.marked("web")) == 0 })
	require.NotEmpty(t, w.marked("deaf"))
	p.types("\x03")
	p.leaves(0)
	require.Empty(t, w.marked("deaf"))
	require.Empty(t, n.others(), "the manager of a terminal is not ours")
}

// TestClosedTerminalStopsHobd and its services.
func TestClosedTerminalStopsHobd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.typed(newNotified(t))
	w.ok("run", "web", "--", "sleep", "1000")
	p.tty.Close()
	p.leaves(0)
	require.Empty(t, w.marked("web"))
	w.eventually("its sentry has gone, too", func() bool { return len(w.sentries()) == 0 })
}

// TestForegroundAndClientsAtOnce: somebody types hobd at the very moment at which clients start one. There is never more than one, and whoever does not
// serve says so, or is served. A manager's hobd is there in the end.
func TestForegroundAndClientsAtOnce(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	w := newWorld(t)
	w.bin = filepath.Join(bin, "plain")
	won := map[string]int{}
	for round := range rounds {
		n := newNotified(t)
		hand, managed := w.hobd("--foreground"), round%2 == 1
		if managed {
			hand = w.underManager(n)
		}
		var stderr lockedBuffer
		hand.Stderr = &stderr
		before := int64(0)
		if r, ok := w.record(); ok {
			before = r.Attempt
		}
		started, ended := make(chan error, 1), make(chan struct{})
		go func() {
			defer close(ended)
			time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
			err := hand.Start()
			started <- err
			if err == nil {
				_ = hand.Wait()
			}
		}()
		for i, r := range w.atOnce(4, func(int) *exec.Cmd {
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			return w.command("daemon", "start")
		}) {
			require.Zero(t, r.code, "round %d, client %d: %s", round, i, r.stderr)
		}
		require.NoError(t, <-started)
		var by string
		w.eventually("it is decided", func() bool {
			switch {
			case managed && strings.Contains(n.all(), "READY=1"):
				by = "manager"
			case !managed && strings.Contains(stderr.String(), "msg=serving"):
				by = "hand"
			case !managed && isDone(ended):
				by = "client"
			case managed && isDone(ended):
				require.Fail(t, "the manager's has given up", stderr.String())
			}
			return by != ""
		})
		won[by]++
		// Each daemon that ever had the lock has counted itself: a manager's may have had to relieve others, nobody else.
		if !managed {
			require.Equal(t, before+1, w.attempts(), "round %d", round)
		}
		if by == "client" {
			require.Contains(t, stderr.String(), "another daemon has the lock")
		} else {
			require.Equal(t, hand.Process.Pid, w.pid(), "round %d", round)
		}
		w.lockedBy(1)
		w.ok("daemon", "stop")
		<-ended
	}
	t.Logf("who has served: %v", won)
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestHobdByHandWithoutForeground says what to do instead.
func TestHobdByHandWithoutForeground(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(w.hobd())
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "hobd --foreground")
	require.NoDirExists(t, w.stateDir())
	r = w.run(w.hobd("--nonsense"))
	require.Equal(t, 2, r.code)
}
