//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/process"
)

func jsonText(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

// floodLimit is how many descriptors who is flooded may have.
const floodLimit = 128

// TestFloodLeavesRoomForWork (S11): more connections than hobd may have descriptors leave it enough to run a service.
func TestFloodLeavesRoomForWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.shell(fmt.Sprintf("ulimit -n %d; hob daemon start", floodLimit))
	require.Zero(t, r.code, r.stderr)
	flood := func(t *testing.T, path string) {
		for range 3 * floodLimit {
			c, err := net.DialTimeout("unix", path, patience)
			require.NoError(t, err)
			t.Cleanup(func() { c.Close() })
		}
	}
	flood(t, w.inst().Path(instance.SocketName))
	w.ok("run", "web", "--", "sleep", "1000")
	w.ok("daemon", "ping")
	require.Less(t, len(descriptors(t, w.pid())), floodLimit)
	w.ok("down")
	t.Run("control", func(t *testing.T) {
		path := filepath.Join(w.home, "flooded")
		server := attack(t, os.Geteuid(), nil, "accept", path)
		require.Equal(t, "there", server.says())
		flood(t, path)
		require.Equal(t, "EMFILE", server.says(), "a server without a limit of its own")
	})
}

// TestFirstCallersEnvironmentIsNotHobds (S14): whoever happens to start hobd does not choose what it loads, how its runtime behaves, or what
// it runs later. What a service has is what its own caller has.
func TestFirstCallersEnvironmentIsNotHobds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hostile := []string{"LD_PRELOAD=", "LD_LIBRARY_PATH=/x", "LD_AUDIT=", "GODEBUG=gctrace=0", "GOTRACEBACK=none", "GOGC=off", "BASH_ENV=/x", "ENV=/x",
		"GCONV_PATH=/x", "PYTHONPATH=/x", "NODE_OPTIONS=", "A=b\nC=d", "HOB_HANDOFF=", "NOTIFY_SOCKET=/x", "LISTEN_FDS=1"}
	w.env = hostile
	w.ok("daemon", "start")
	w.ok("run", "web", "--", "sleep", "1000")
	sentry := w.onGuard(1)
	environ := func(pid int) []string {
		return strings.Split(w.slurp(fmt.Sprintf("/proc/%d/environ", pid)), "\x00")
	}
	for _, pid := range []int{w.pid(), sentry} {
		for _, kv := range environ(pid) {
			require.NotContains(t, hostile, kv)
			require.False(t, strings.HasPrefix(kv, "C="), "%q", kv)
		}
	}
	t.Run("control", func(t *testing.T) {
		for _, kv := range hostile[:len(hostile)-3] {
			require.Contains(t, environ(w.doc(0, "ps", "web").Service.Pid), kv, "they were there")
		}
	})
}

// TestEscapeSequencesDoNotReachTheTerminal (S15): not those that a service writes, nor those in
// its command, in the project's path or in messages. They are in the log as they were written.
func TestEscapeSequencesDoNotReachTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.project = filepath.Join(w.project, "p\x1b]0;path\x07")
	require.NoError(t, os.Mkdir(w.project, 0o755))
	const raw = "a\x1b]0;title\x07b\x1b[2Jc\x1b[1;1Hd\x1b]52;c;cm0=\x07e\u009b2Jf\rg\u202eh\x1bPq\x1b\\i\x08\n"
	w.ok("run", "web", "--", "sh", "-c", `printf "$0"; exec sleep 1000`, strings.ReplaceAll(raw, "\x1b", `\033`))
	w.eventually("it is in the log", func() bool { return strings.Contains(w.segments("web"), "i\x08") })
	bare := func(what, text string, r result) {
		require.Zero(t, r.code, "%s: %s", what, r.stderr)
		for _, bad := range []string{"\x1b]", "\x1b[2J", "\x1b[1;1H", "\x1bP", "\x07", "\x08", "\u009b"} {
			require.NotContains(t, r.stdout+r.stderr, bad, what)
		}
		require.Contains(t, r.stdout, text, what)
	}
	bare("logs into a pipe", "abcdefg", w.hob("logs", "web"))
	for _, args := range [][]string{{"ps"}, {"list"}, {"daemon", "status"}, {"daemon", "log"}, {"ps", "web"}} {
		bare(strings.Join(args, " "), "", w.hob(args...))
	}
	p := w.sit("logs", "web")
	p.sees("abcdefgh")
	p.leaves(0)
	require.NotContains(t, p.everything(), "\x1b]")
	p = w.sit("list")
	p.leaves(0)
	require.Contains(t, p.everything(), filepath.Dir(w.project))
	require.NotContains(t, p.everything(), "\x1b]0")
	r := w.hob("run", "x\x1b]0;name\x07", "--", "true")
	require.NotContains(t, r.stderr, "\x1b")
	r = w.hob("run", "web2", "--", "\x1b]0;program\x07")
	require.NotContains(t, r.stdout+r.stderr, "\x1b")
	t.Run("control", func(t *testing.T) {
		require.Equal(t, raw, w.segments("web"), "cat would show them")
	})
}

// TestLeakedDescriptorsAreClosed (S19): what the caller forgot to close is neither hobd's nor the sentry's nor a service's. Only what lacks
// close-on-exec came from outside.
func TestLeakedDescriptorsAreClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, os.WriteFile(filepath.Join(w.home, "secret"), []byte("x"), 0o600))
	leak := `exec 3<"$HOME/secret" 4<"$HOME/secret" 10<"$HOME/secret"; for i in 5 6 9 11 12 99 200; do eval "exec $i<>'$HOME/secret'"; done; `
	has := func(pid int) bool {
		for _, to := range descriptors(t, pid) {
			if strings.HasSuffix(to, "/secret") {
				return true
			}
		}
		return false
	}
	r := w.shell(leak + "hob daemon start && hob run web -- sleep 1000")
	require.Zero(t, r.code, r.stderr)
	service := w.doc(0, "ps", "web").Service.Pid
	sentry := w.onGuard(1) // while hobd forks it, it has a pipe of Go's
	checkDescriptors(w, w.pid(), service)
	require.False(t, has(sentry), "the sentry")
	t.Run("control", func(t *testing.T) {
		cmd := exec.Command("bash", "-c", leak+"exec sleep 1000")
		cmd.Env = w.environ()
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		w.eventually("any other child has them", func() bool { return has(cmd.Process.Pid) })
	})
}

// TestOddStartIsPutRight (S20): blocked and ignored signals, a umask of 0, a deleted working directory: none of that is hobd's or a service's, and
// nothing of hob's is open to others.
func TestOddStartIsPutRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	self, err := os.Executable()
	require.NoError(t, err)
	odd := `trap '' HUP INT QUIT TERM PIPE USR1 CHLD; umask 0; mkdir gone; cd gone; rmdir ../gone; HOB_E2E_HELPER=block "` + self + `" `
	r := w.shell(odd + `"$(command -v hob)" -C "` + w.project + `" run web -- sh -c 'echo x; exec sleep 1000'`)
	require.Zero(t, r.code, r.stderr)
	service := w.doc(0, "ps", "web").Service.Pid
	sentry := w.onGuard(1)
	for _, pid := range []int{w.pid(), sentry} {
		require.Equal(t, strings.Repeat("0", 16), statusField(t, pid, "SigBlk"))
		require.Equal(t, "/", w.cwd(pid))
	}
	for _, field := range []string{"SigBlk", "SigIgn"} {
		require.Equal(t, strings.Repeat("0", 16), statusField(t, service, field))
	}
	require.Equal(t, w.inst().Root.Path, w.cwd(service))
	for _, path := range w.snapshot() {
		if fi, err := os.Lstat(path); err == nil && strings.HasPrefix(path, w.stateDir()) {
			require.Zero(t, fi.Mode().Perm()&0o077, "%s has mode %v", path, fi.Mode())
		}
	}
	t.Run("control", func(t *testing.T) {
		cmd := exec.Command("bash", "-c", odd+`/bin/sh -c 'echo >"$HOME/open"; exec sleep 1000'`)
		cmd.Dir, cmd.Env = w.project, w.environ()
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		w.eventually("any other child is born with all of it", func() bool {
			fi, err := os.Stat(filepath.Join(w.home, "open"))
			info, serr := process.Stat(cmd.Process.Pid)
			return err == nil && fi.Mode().Perm() == 0o666 && serr == nil && info.Command == "sleep"
		})
		require.NotEqual(t, strings.Repeat("0", 16), statusField(t, cmd.Process.Pid, "SigBlk"))
		require.NotEqual(t, strings.Repeat("0", 16), statusField(t, cmd.Process.Pid, "SigIgn"))
		require.Contains(t, w.cwd(cmd.Process.Pid), "(deleted)")
	})
}

func (w *world) cwd(pid int) string {
	w.t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	require.NoError(w.t, err)
	return to
}

// TestOddProtocolsAreAnsweredOnce (S24): a hello of any other version is answered with what is spoken here, and changes nothing; a client that meets
// such an answer says so and starts, stops and replaces nothing.
func TestOddProtocolsAreAnsweredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	hello := func(protocol string) string {
		c := w.connect()
		_, err := fmt.Fprintf(c, `{"jsonrpc":"2.0","id":1,"method":"hob.hello","params":{"protocol":%s,"build":"v99.0.0"}}`+"\n", protocol)
		require.NoError(t, err)
		return reply(t, c)
	}
	for range 20 {
		for _, protocol := range []string{"[0,0]", "[99,100]", "[5,1]", "[-9,-1]", "[2147483647,2147483647]"} {
			require.Contains(t, hello(protocol), `"incompatible":{"protocol":[1,2]`, protocol)
		}
	}
	for _, protocol := range []string{`"x"`, "[1.5,2]", "{}", "[99999999999999999999,1]"} {
		require.Contains(t, hello(protocol), `"error"`, protocol)
	}
	require.Equal(t, pid, w.pid())
	require.EqualValues(t, 1, w.attempts())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
	t.Run("control", func(t *testing.T) {
		require.Contains(t, hello("[1,1]"), `"welcome"`)
		require.Contains(t, hello("[-9,99]"), `"welcome":{"protocol":2`)
	})

	other := newWorld(t)
	require.NoError(t, os.MkdirAll(other.inst().Dir(), 0o700))
	l, err := net.Listen("unix", other.inst().Path(instance.SocketName))
	require.NoError(t, err)
	defer l.Close()
	came := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came <- struct{}{}
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = c.Read(make([]byte, 1<<16))
			fmt.Fprintln(c, `{"jsonrpc":"2.0","id":0,"result":{"incompatible":{"protocol":[7,9],"build":"v99.0.0"}}}`)
			c.Close()
		}
	}()
	for _, args := range [][]string{{"run", "web", "--", "true"}, {"daemon", "start"}} {
		e := other.failure(1, args...)
		require.Equal(t, "skewed", e.Code, e.Message)
		require.Contains(t, e.Message, "v99.0.0")
		require.Len(t, came, 1, "it is asked once")
		<-came
	}
	_, started := other.record()
	require.False(t, started)
}
