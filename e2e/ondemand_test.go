//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

// storm is how many requests, rounds and clients there are in the tests of what must hold under load: all of them with
// HOB_STORM=full (make storm), else a part.
func storm(full int) int {
	if os.Getenv("HOB_STORM") == "full" {
		return full
	}
	return full / 20
}

// lineServer is the command line of the server that the tests of on-demand services run.
func (w *world) lineServer(flags ...string) []string {
	return append([]string{filepath.Join(w.bin, "lineserver")}, flags...)
}

// serve writes a hob.toml with one on-demand service, web, at addr, and brings it up.
func (w *world) serve(addr, idle, more string, flags ...string) {
	w.t.Helper()
	cmd := `"` + strings.Join(w.lineServer(flags...), `", "`) + `"`
	w.write("hob.toml", fmt.Sprintf("[services.web]\nrun = [%s]\nlisten = %s\nidle = %q\n%s\n", cmd, addr, idle, more))
	w.ok("up")
}

func (w *world) write(name, text string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.project, name), []byte(text), 0o600))
}

// errCut is for a connection that was accepted and ended without a whole answer.
var errCut = errors.New("cut short")

// ask makes one request and gives the pid of the server that answered.
func ask(network, addr, word string) (pid int, err error) {
	c, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(c, word); err != nil {
		return 0, fmt.Errorf("%w: %w", errCut, err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	who, what, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if err != nil || what != word {
		return 0, fmt.Errorf("%w: %q: %w", errCut, line, err)
	}
	return strconv.Atoi(who)
}

// state is that of web.
func (w *world) state() string {
	w.t.Helper()
	return w.doc(0, "ps", "web").Service.State
}

// TestOnDemand: up binds the socket and starts nothing; the first connection does, and is answered; without connections
// it is stopped, and the next one starts it again. TCP and Unix, with the socket passed and through a proxy.
func TestOnDemand(t *testing.T) {
	t.Parallel()
	for name, unix := range map[string]bool{"tcp": false, "unix": true} {
		for _, proxy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,proxy=%v", name, proxy), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				network, addr := "tcp", freePort(t)
				text := addr
				if unix {
					network, addr, text = "unix", filepath.Join(w.project, "run/web.sock"), "unix:run/web.sock"
				}
				if proxy {
					back := freePort(t)
					w.serve(fmt.Sprintf("{ addr = %q, proxy = true, to = %q }", text, back), "100ms", "", "-listen", back)
				} else {
					w.serve(strconv.Quote(text), "100ms", "")
				}
				s := w.doc(0, "ps", "web").Service
				require.Equal(t, "idle", s.State)
				require.Zero(t, s.Pid)
				var last int
				for i := range 3 {
					pid, err := ask(network, addr, fmt.Sprint("hello", i))
					require.NoError(t, err, w.daemonLog())
					require.NotEqual(t, last, pid)
					last = pid
					w.eventually("it is stopped because nobody needs it", func() bool { return w.state() == "idle" && !running(pid) })
				}
				s = w.doc(0, "ps", "web").Service
				require.Zero(t, s.Restarts)
				require.Equal(t, 3, s.Generation)
				w.ok("down")
				_, err := ask(network, addr, "nobody")
				require.Error(t, err, "after down nobody listens any more")
			})
		}
	}
}

// TestAConnectionKeepsItUp: a service is not idle while somebody is connected, however long nothing is said, nor
// while the client has closed its half and waits for the answer.
func TestAConnectionKeepsItUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := freePort(t)
	w.serve(strconv.Quote(addr), "50ms", "", "-slow", "400ms")
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	w.eventually("it runs", func() bool { return w.state() == "running" })
	pid := w.doc(0, "ps", "web").Service.Pid
	began := time.Now()
	w.eventually("idle has been over many times", func() bool { return time.Since(began) > 500*time.Millisecond })
	require.True(t, running(pid))
	_, err = fmt.Fprintln(c, "late")
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d late\n", pid), line)
	w.eventually("it is idle", func() bool { return w.state() == "idle" })
}

// TestAServersSocketIsLeftAsItIs: a server may make its socket non-blocking, which is one for everybody who has it. Whatever hobd does
// with its own descriptor meanwhile, it stays so: a loop that accepts until there is nobody would hang.
func TestAServersSocketIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := freePort(t)
	w.serve(strconv.Quote(addr), "1m", "")
	pid, err := ask("tcp", addr, "x")
	require.NoError(t, err)
	nonblocking := func() bool {
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/3", pid))
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(info), "flags:")
		flags, err := strconv.ParseUint(strings.Fields(rest)[0], 8, 32)
		require.NoError(t, err)
		return flags&syscall.O_NONBLOCK != 0
	}
	require.True(t, nonblocking(), "the server has made it so")
	for i := range 3 {
		w.ok("run", fmt.Sprint("other", i), "--", "sleep", "1000")
		require.True(t, nonblocking())
	}
	w.kill(w.pid(), syscall.SIGKILL)
	w.eventually("there is another hobd", func() bool { return w.doc(0, "ps", "web").Service.Adopted == 1 })
	require.True(t, nonblocking())
}

// TestNoneIsRefusedByACrashingServer: clients of a server that crashes again and again are never refused. What it had
// accepted when it crashed is lost, and counted.
func TestNoneIsRefusedByACrashingServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bin = filepath.Join(bin, "plain")
	addr := freePort(t)
	w.write("hob.toml", fmt.Sprintf("[services.web]\nrun = [%q, \"-crash\", \"20\"]\nlisten = %q\nidle = \"1m\"\n", filepath.Join(bin, "lineserver"), addr))
	w.ok("up")
	var cut, served atomic.Int64
	require.NoError(t, each(storm(20_000), 50, func(i int) error {
		_, err := ask("tcp", addr, fmt.Sprint(i))
		switch {
		case errors.Is(err, errCut):
			cut.Add(1)
		case err != nil:
			return err
		default:
			served.Add(1)
		}
		return nil
	}), w.daemonLog())
	s := w.doc(0, "ps", "web").Service
	t.Logf("%d answered, %d cut off by a crash, %d restarts, none refused", served.Load(), cut.Load(), s.Restarts)
	require.Greater(t, s.Restarts, storm(20_000)/100)
	require.Greater(t, int(served.Load()), storm(20_000)/5)
}

// each calls f for 0 to n-1 from some goroutines, and gives the first error.
func each(n, at int, f func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, at)
	for range at {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					errs <- fmt.Errorf("%d of %d: %w", i, n, err)
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// TestIdleStopLosesNobody: clients that come in bursts, with the service really down in between, and one by one around the
// time at which it is stopped.
func TestIdleStopLosesNobody(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"die", "finish", "ignore"} {
		t.Run("term="+how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.bin = filepath.Join(bin, "plain")
			addr := freePort(t)
			note := filepath.Join(w.project, "starts")
			w.write("hob.toml", fmt.Sprintf("[services.web]\nrun = [%q, \"-term\", %q, \"-note\", %q, \"-slow\", \"2ms\"]\nlisten = %q\nidle = \"50ms\"\nstop.timeout = \"30ms\"\n",
				filepath.Join(bin, "lineserver"), how, note, addr))
			w.ok("up")
			n := storm(20_000) / 3
			require.NoError(t, each(n, 2, func(i int) error {
				time.Sleep(rand.N(120 * time.Millisecond)) // what is tested is every distance from the last one
				_, err := ask("tcp", addr, fmt.Sprint(i))
				return err
			}), w.daemonLog())
			w.eventually("it is down", func() bool { return w.state() == "idle" })
			starts, err := os.ReadFile(note)
			require.NoError(t, err)
			t.Logf("%d requests, %d starts, none lost", n, strings.Count(string(starts), "\n"))
			require.Greater(t, strings.Count(string(starts), "\n"), 2)
		})
	}
}

// TestBursts: a thousand clients come in bursts, each at a moment of its own; in between the service is really down.
func TestBursts(t *testing.T) {
	t.Parallel()
	for _, proxy := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxy=%v", proxy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.bin = filepath.Join(bin, "plain")
			addr, back := freePort(t), freePort(t)
			listen, more := strconv.Quote(addr), ""
			if proxy {
				listen, more = fmt.Sprintf("{ addr = %q, proxy = true, to = %q }", addr, back), fmt.Sprintf(", \"-listen\", %q", back)
			}
			w.write("hob.toml", fmt.Sprintf("[services.web]\nrun = [%q%s]\nlisten = %s\nidle = \"50ms\"\n", filepath.Join(bin, "lineserver"), more, listen))
			w.ok("up")
			const bursts, clients = 20, 50
			for i := range bursts {
				require.NoError(t, each(clients, clients, func(j int) error {
					time.Sleep(rand.N(60 * time.Millisecond)) // their jitter is what is tested
					_, err := ask("tcp", addr, fmt.Sprint(i, j))
					return err
				}), w.daemonLog())
				pid := w.doc(0, "ps", "web").Service.Pid
				w.eventually("it is down", func() bool { return w.state() == "idle" && (pid == 0 || !running(pid)) })
			}
			s := w.doc(0, "ps", "web").Service
			require.GreaterOrEqual(t, s.Generation, bursts)
			require.Zero(t, s.Restarts)
		})
	}
}

// TestStopAndStartUnderClients: a socket stays while its service is stopped and started: whoever comes meanwhile waits.
func TestStopAndStartUnderClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bin = filepath.Join(bin, "plain")
	addr := freePort(t)
	w.write("hob.toml", fmt.Sprintf("[services.web]\nrun = [%q, \"-term\", \"finish\"]\nlisten = %q\n", filepath.Join(bin, "lineserver"), addr))
	w.ok("up")
	var done atomic.Bool
	var asked atomic.Int64
	clients := make(chan error, 1)
	go func() {
		clients <- each(1<<30, 8, func(i int) error {
			if done.Load() {
				return errDone
			}
			_, err := ask("tcp", addr, fmt.Sprint(i))
			asked.Add(1)
			return err
		})
	}()
	for range storm(1000) {
		w.ok("stop", "web")
		w.ok("start", "web")
	}
	done.Store(true)
	require.ErrorIs(t, <-clients, errDone)
	t.Logf("%d rounds, %d requests, none refused or cut", storm(1000), asked.Load())
	require.Greater(t, asked.Load(), int64(storm(1000)))
}

var errDone = errors.New("done")

// TestASocketSurvivesItsDaemon: connections wait through a SIGKILL of hobd, whether the service runs or not, and
// through its orderly replacement.
func TestASocketSurvivesItsDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := freePort(t)
	w.serve(strconv.Quote(addr), "100ms", "")
	for i := range 6 {
		asked := make(chan error, 20)
		replaced, restarted := w.pid(), func() result { return result{} }
		if i%2 == 0 {
			w.kill(replaced, syscall.SIGKILL)
		} else {
			restarted = w.begin(w.command("daemon", "restart"))
		}
		for j := range cap(asked) {
			go func() {
				_, err := ask("tcp", addr, fmt.Sprint(i, j))
				asked <- err
			}()
		}
		for range cap(asked) {
			require.NoError(t, <-asked, w.daemonLog())
		}
		r := restarted()
		require.Zero(t, r.code, r.stderr)
		w.eventually("there is another hobd", func() bool { p := w.pid(); return p != 0 && p != replaced })
		if i%3 == 0 {
			w.eventually("it is idle", func() bool { return w.state() == "idle" })
		}
	}
	require.NotContains(t, w.daemonLog(), "sentry has kept")
}

// TestASocketSurvivesAStopInTheMiddleOfAdoption: a daemon that is told to go while it waits for what the sentry has kept
// still takes it over, for the one that comes next.
func TestASocketSurvivesAStopInTheMiddleOfAdoption(t *testing.T) {
	t.Parallel()
	for range 5 {
		if newWorld(t).stoppedInAdoption() {
			return
		}
	}
	t.Skip("this machine is too slow: the sentry was never asked, stopped and told to go on within the time that a hobd waits for it")
}

// stoppedInAdoption goes through it once, and gives false when it took so long that a daemon need not have waited for the sentry.
func (w *world) stoppedInAdoption() (inTime bool) {
	w.t.Helper()
	addr := freePort(w.t)
	w.serve(strconv.Quote(addr), "1m", "")
	_, err := ask("tcp", addr, "x")
	require.NoError(w.t, err)
	sentry := w.onGuard(1)
	w.stop(sentry)
	began := time.Now()
	w.kill(w.pid(), syscall.SIGKILL)
	w.ok("daemon", "start")
	restarted := w.background("daemon", "restart")
	w.eventually("it is told to go", func() bool { return strings.Contains(w.daemonLog(), "msg=stopping") })
	w.kill(sentry, syscall.SIGCONT)
	took := time.Since(began)
	r := <-restarted
	if took > 2*time.Second {
		return false
	}
	require.Zero(w.t, r.code, r.stderr)
	require.NotContains(w.t, w.daemonLog(), "sentry has kept")
	require.NotContains(w.t, w.daemonLog(), "hold the socket again")
	_, err = ask("tcp", addr, "y")
	require.NoError(w.t, err)
	return true
}

// TestAFrozenServiceGoesOn: hobd stops a service for a moment to count its connections. If it is killed in that moment, the next one
// lets the service go on.
func TestAFrozenServiceGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := freePort(t)
	w.serve(strconv.Quote(addr), "1m", "")
	pid, err := ask("tcp", addr, "x")
	require.NoError(t, err)
	w.stop(pid)
	w.kill(w.pid(), syscall.SIGKILL)
	again, err := ask("tcp", addr, "y")
	require.NoError(t, err, w.daemonLog())
	require.Equal(t, pid, again)
}

// TestAnIdleStopSparesAcrossTheDaemonsDeath: the next hobd goes on with it, and cuts nobody short either who has come meanwhile.
func TestAnIdleStopSparesAcrossTheDaemonsDeath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := freePort(t)
	w.serve(strconv.Quote(addr), "50ms", "stop.timeout = '3s'", "-term", "ignore", "-slow", "5s")
	w.eventually("it is stopped for being idle", func() bool { // once more, where that went by unseen
		if w.state() == "idle" {
			w.ok("start", "web")
		}
		return w.state() == "stopping"
	})
	w.kill(w.pid(), syscall.SIGKILL)
	_, err := ask("tcp", addr, "x")
	require.NoError(t, err, w.daemonLog())
}

// TestWhoNeverAcceptsFails: a service that ends without taking the connection that waits is not started for ever. The
// socket stays, and once the service is mended a start serves who waited.
func TestWhoNeverAcceptsFails(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"0", "3"} {
		t.Run("exit="+code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			addr := freePort(t)
			note := filepath.Join(w.project, "starts")
			w.serve(strconv.Quote(addr), "1m", "", "-exit", code, "-note", note)
			waits := make(chan error, 1)
			go func() {
				_, err := ask("tcp", addr, "patient")
				waits <- err
			}()
			w.eventually("it has failed", func() bool { return w.state() == "failed" })
			s := w.doc(0, "ps", "web").Service
			require.Contains(t, s.Why, "5 runs failed within 1m0s")
			starts, err := os.ReadFile(note)
			require.NoError(t, err)
			require.Equal(t, 5, strings.Count(string(starts), "\n"))
			cmd := `"` + strings.Join(w.lineServer(), `", "`) + `"`
			w.write("hob.toml", fmt.Sprintf("[services.web]\nrun = [%s]\nlisten = %q\nidle = \"1m\"\n", cmd, addr))
			w.ok("up")
			require.NoError(t, <-waits)
		})
	}
}

// TestASocketThatIsTakenNamesItsHolder: a stranger has the address. It keeps it, and nothing is started.
func TestASocketThatIsTakenNamesItsHolder(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	addr, path := freePort(t), filepath.Join(w.project, "web.sock")
	for _, text := range []string{addr, "unix:" + path} {
		other.serve(strconv.Quote(text), "1m", "")
		cmd := `"` + strings.Join(w.lineServer(), `", "`) + `"`
		w.write("hob.toml", fmt.Sprintf("[services.web]\nrun = [%s]\nlisten = %q\nidle = \"1m\"\nrestart = \"no\"\n", cmd, text))
		r := w.hob("up")
		require.Equal(t, 1, r.code)
		// Its sentry and its service have a duplicate of the socket, and may have the lower pid: they begin anew at the top.
		require.Contains(t, r.stderr, fmt.Sprintf("is held by hobd (pid %d)", other.pid()))
		if text == addr {
			_, err := ask("tcp", addr, "x")
			require.NoError(t, err)
		} else {
			_, err := ask("unix", path, "x")
			require.NoError(t, err)
			left, err := filepath.Glob(filepath.Join(w.project, "*.sock*"))
			require.NoError(t, err)
			require.Equal(t, []string{path}, left)
		}
		w.ok("down")
	}
}

// TestALeaseKeepsItUp: for as long as a command, a connection or a process lasts, also when hobd is killed meanwhile.
func TestALeaseKeepsItUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := freePort(t)
	w.serve(strconv.Quote(addr), "50ms", "")
	stays := func(why string) {
		t.Helper()
		pid, err := ask("tcp", addr, "x")
		require.NoError(t, err)
		w.eventually("it runs", func() bool { return w.state() == "running" })
		w.kill(w.pid(), syscall.SIGKILL)
		began := time.Now()
		w.eventually("idle has been over many times", func() bool { return time.Since(began) > 1500*time.Millisecond })
		require.True(t, running(pid), why)
	}
	idle := func() { t.Helper(); w.eventually("it is idle", func() bool { return w.state() == "idle" }) }

	cmd := w.command("hold", "web", "--", "sh", "-c", "read x; exit 7")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	held := make(chan result, 1)
	end := w.begin(cmd)
	go func() { held <- end() }()
	_, err = ask("tcp", addr, "x")
	require.NoError(t, err)
	w.eventually("the lease is there", func() bool { return len(children(cmd.Process.Pid)) > 0 })
	stays("a command that holds it")
	require.NoError(t, in.Close())
	require.Equal(t, 7, (<-held).code)
	idle()

	holder := w.command("--help")
	holder.Args, holder.Path = []string{"sleep", "1000"}, "/bin/sleep"
	require.NoError(t, holder.Start())
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	w.ok("hold", "web", "--pid", strconv.Itoa(holder.Process.Pid))
	stays("a process that holds it")
	require.NoError(t, holder.Process.Kill())
	_, _ = holder.Process.Wait()
	idle()
	require.Equal(t, 1, w.hob("hold", "web", "--pid", strconv.Itoa(holder.Process.Pid)).code)
	require.Equal(t, 4, w.hob("hold", "nope", "--pid", "1").code)
}

// TestIdleExit: hobd leaves when nothing runs, nothing is held and nobody is connected, and not before; whoever comes in
// that moment gets the next one.
func TestIdleExit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("hob.toml", "[daemon]\nidle_exit = \"100ms\"\n[services.job]\nrun = [\"sleep\", \"0.6\"]\n")
	first := w.doc(0, "up").Daemon.Pid
	require.NotZero(t, first)
	w.eventually("hobd has left", func() bool { return w.pid() == 0 && !running(first) })
	require.Equal(t, "done", w.doc(0, "ps", "job").Service.State, "it left after the job and changed nothing")
	for range 40 {
		time.Sleep(rand.N(160 * time.Millisecond)) // every distance from the last one
		w.ok("run", "--wait", "echo", "--", "echo", "hi")
	}
	require.Greater(t, w.starts(), 2)
	w.eventually("hobd has left", func() bool { return w.pid() == 0 })
}

// TestWhoIsAboutToSpeakIsWaitedFor: hobd does not leave for want of anybody while somebody is connected who has not said hello yet, as a client on a
// busy machine that has just started it.
func TestWhoIsAboutToSpeakIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("hob.toml", "[daemon]\nidle_exit = \"50ms\"\n[services.job]\nrun = [\"sleep\", \"1000\"]\n")
	w.ok("up") // the job keeps it
	c := w.connect()
	pid := w.pid()
	w.ok("stop", "job")
	time.Sleep(500 * time.Millisecond) // it must not leave meanwhile
	_, err := c.Write([]byte(statusCall))
	require.NoError(t, err)
	require.Contains(t, reply(t, c), fmt.Sprintf(`"pid":%d`, pid))
	w.eventually("hobd has left", func() bool { return w.pid() == 0 && !running(pid) })
}

// TestAlive: a service whose alive check fails is unready until it works again; it is not restarted.
func TestAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("hob.toml", "[services.web]\nrun = [\"sleep\", \"1000\"]\nalive = { exec = [\"test\", \"-e\", \"well\"], every = \"20ms\", fails = 2 }\n")
	w.write("well", "")
	w.ok("up")
	pid := w.doc(0, "ps", "web").Service.Pid
	for range 2 {
		require.NoError(t, os.Remove(filepath.Join(w.project, "well")))
		w.eventually("it is unready", func() bool { return w.state() == "unready" })
		require.Equal(t, "alive check: the check: exit 1", w.doc(0, "ps", "web").Service.Why)
		w.write("well", "")
		w.ok("wait", "web", "--for", "ready")
		require.Equal(t, "running", w.state())
		require.NoError(t, os.Remove(filepath.Join(w.project, "well")))
		w.eventually("it is unready", func() bool { return w.state() == "unready" })
		w.kill(w.pid(), syscall.SIGKILL)
		w.write("well", "")
		w.eventually("the next hobd sees that it works", func() bool { return w.state() == "running" })
	}
	require.Equal(t, pid, w.doc(0, "ps", "web").Service.Pid)
}

// TestBadAddressesCreateNothing: what nobody could listen on, or no process be given, is refused with a reason.
func TestBadAddressesCreateNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	before := w.files()
	long := strings.Repeat("x", 10_000)
	for _, args := range [][]string{
		{"sock", "a..b", "--", "true"}, {"sock", "a\nb", "--", "true"}, {"sock", long, "--", "true"}, {"connect", "../x", "--", "true"},
		{"sock", "--listen", "unix:" + long, "web", "--", "true"}, {"sock", "--listen", "unix:a\x1bb", "web", "--", "true"},
		{"sock", "--listen", "unix:../x.sock", "web", "--", "true"}, {"sock", "--listen", long + ":1", "web", "--", "true"},
		{"sock", "--listen", "127.0.0.1:0", "web", "--", "true"}, {"sock", "--listen", "8080", "web", "--", "true"},
		{"connect", "--listen", "127.0.0.1:99999", "web", "--", "true"}, {"sock", "--proxy", "--to", "x", "web", "--", "true"},
		{"sock", "--to", "127.0.0.1:1", "web", "--", "true"}, {"sock", "--idle", "-1s", "web", "--", "true"},
		{"sock"}, {"connect", "a", "b"}, {"sock", "--idle", "1s", "web"}, {"hold", "--pid", "-1"}, {"hold", "--"}, {"attach"},
	} {
		e := w.failure(2, args...)
		require.Equal(t, api.CodeUsage, e.Code)
		require.Less(t, len(e.Message), 400)
		require.NotContains(t, e.Message, "\x1b")
	}
	w.env = []string{"BIG=" + strings.Repeat("x", 128<<10-len("BIG=")-1)}
	w.ok("run", "--wait", "fits", "--", "true")
	w.ok("rm", "fits")
	for _, kv := range []string{"A\x01B=x", "\x7f=x"} {
		w.env = []string{kv}
		require.Contains(t, w.failure(2, "run", "web", "--", "true").Message, "a control character in its name")
	}
	w.env = nil
	require.Equal(t, before, w.files())
	require.Empty(t, w.doc(0, "ps").Services)
}

// files are the names of all that this world has on disk, but for what an ordinary call touches.
func (w *world) files() []string {
	var names []string
	for _, dir := range []string{w.project, w.inst().Path("sock"), w.inst().Path("state"), w.inst().Path("log"), w.inst().Path("fifo")} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

// TestAnotherAddressIsTakenAtTheEnd: whoever connects to the old one while the run that has its socket is being stopped is not refused.
func TestAnotherAddressIsTakenAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := func(name string) {
		w.toml("[services.web]\nrun = ['sh', '-c', " + strconv.Quote(dallying) + "]\nstop.timeout = '10m'\nlisten = 'unix:" + name + ".sock'\n")
	}
	connect := func(name string) error {
		c, err := net.Dial("unix", filepath.Join(w.project, name+".sock"))
		if err == nil {
			c.Close()
		}
		return err
	}
	file("old")
	w.ok("up")
	require.NoError(t, connect("old"))
	file("new")
	up := w.follow("up")
	w.eventually("the old run is being stopped", func() bool { return w.list()["web"].State == "stopping" })
	require.NoError(t, connect("old"))
	w.touch("gate")
	require.Zero(t, up.wait(), up.stderr)
	require.Error(t, connect("old"))
	require.NoError(t, connect("new"))
}
