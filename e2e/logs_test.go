//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// follower is a call of hob that goes on, with what it has written so far.
type follower struct {
	w      *world
	cmd    *exec.Cmd
	exited chan struct{}
	stderr *output
	stdout *output
}

// output is what a process wrote, for a test to look at meanwhile.
type output struct {
	mu  sync.Mutex
	buf []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf)
}

// follow starts a call of hob that is expected to go on. It is killed at the end of the test if
// it has not ended.
func (w *world) follow(args ...string) *follower {
	w.t.Helper()
	return w.start(w.command(args...))
}

func (w *world) start(cmd *exec.Cmd) *follower {
	w.t.Helper()
	f := &follower{w: w, cmd: cmd, exited: make(chan struct{}), stdout: &output{}, stderr: &output{}}
	cmd.Stdout, cmd.Stderr = f.stdout, f.stderr
	cmd.WaitDelay = patience / 2 // for what has hob's output open
	require.NoError(w.t, cmd.Start())
	go func() { _ = cmd.Wait(); close(f.exited) }()
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); <-f.exited })
	return f
}

func (f *follower) text() string { return f.stdout.String() }

// until returns once the output matches.
func (f *follower) until(re string) {
	f.w.t.Helper()
	match := regexp.MustCompile("(?m)" + re)
	f.w.eventually("the output matches "+re, func() bool { return match.MatchString(f.text()) })
}

// interrupt is Ctrl-C, for a view: exit 0, at once, without a word.
func (f *follower) interrupt() {
	f.w.t.Helper()
	f.signal(syscall.SIGINT)
	require.Zero(f.w.t, f.wait(), f.stderr.String())
	require.Empty(f.w.t, f.stderr.String())
}

func (f *follower) signal(sig syscall.Signal) {
	f.w.t.Helper()
	require.NoError(f.w.t, f.cmd.Process.Signal(sig))
}

// wait waits for its end and gives the exit status.
func (f *follower) wait() int {
	f.w.t.Helper()
	select {
	case <-f.exited:
	case <-time.After(patience):
		f.w.t.Fatalf("%v hung\nstdout: %s\nstderr: %s\nlog: %s", f.cmd.Args, f.text(), f.stderr, f.w.daemonLog())
	}
	return f.cmd.ProcessState.ExitCode()
}

func (f *follower) lines() []string { return strings.Split(strings.TrimSuffix(f.text(), "\n"), "\n") }

// counting says its generation and a number, one more with every line.
const counting = `i=0; while :; do i=$((i+1)); echo "${HOB_ID##*/} $i"; sleep 0.02; done`

// requireCounted wants every line of every generation from the first one shown on, once and in
// order.
func requireCounted(t *testing.T, lines []string) (generations int) {
	t.Helper()
	generation, n := 0, 0
	for _, line := range lines {
		var g, i int
		_, err := fmt.Sscanf(line, "%d %d", &g, &i)
		require.NoError(t, err, "%q", line)
		if g != generation {
			require.Greater(t, g, generation)
			require.Equal(t, 1, i, "the first line of generation %d", g)
			generations++
		} else {
			require.Equal(t, n+1, i, "after line %d of generation %d", n, g)
		}
		generation, n = g, i
	}
	return generations
}

// more waits for some more lines.
func (f *follower) more() {
	f.w.t.Helper()
	n := len(f.lines()) + 5
	f.w.eventually("more lines come", func() bool { return len(f.lines()) >= n })
}

// TestFollowerMissesNothing: logs -f shows every line once and in order, across a restart of the
// service, SIGKILL of hobd and the next start, a restart of hobd, and a stop and start of both.
func TestFollowerMissesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", counting)
	f := w.follow("logs", "-f", "-n", "100000", "web")
	f.more()
	w.ok("restart", "web")
	f.until(`^2 `)
	w.kill(w.pid(), syscall.SIGKILL)
	w.ok("daemon", "start")
	f.more()
	w.ok("daemon", "restart")
	f.more()
	w.ok("daemon", "stop")
	w.ok("start", "web")
	f.until(`^3 `)
	f.more()
	f.interrupt()
	require.Equal(t, 3, requireCounted(t, f.lines()))
	require.Equal(t, "running", w.doc(0, "ps", "web").Service.State, "Ctrl-C only ends the view")
	r := w.ok("logs", "-n", "100000", "web")
	require.Equal(t, 3, requireCounted(t, strings.Split(strings.TrimSpace(r.stdout), "\n")))
	require.True(t, strings.HasPrefix(r.stdout, f.text()), "what was followed is what was written")
}

// TestFollowBeforeThereIsAnything: logs -f waits for services that are still to come, starts and
// creates nothing, and shows each with its name.
func TestFollowBeforeThereIsAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.snapshot()
	f := w.follow("logs", "-f")
	require.Equal(t, 3, w.hob("daemon", "status").code)
	require.Equal(t, before, w.snapshot())
	w.ok("run", "web", "--", "sh", "-c", "echo one; exec sleep 1000")
	f.until(`^web \| one$`)
	w.ok("run", "worker", "--", "sh", "-c", "echo two; exec sleep 1000")
	f.until(`^worker \| two$`)
	w.ok("down")
	w.ok("run", "web", "--", "sh", "-c", "echo three; exec sleep 1000")
	f.until(`^web    \| three$`)
	f.interrupt()
	require.Equal(t, 3, len(f.lines()), f.text())
}

// TestWaitForALastLineWithoutNewline: it counts, and so does one that has ended by then.
func TestWaitForALastLineWithoutNewline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--restart", "no", "--", "sh", "-c", "until [ -e go ]; do sleep 0.02; done; printf 'one\nlast'")
	wait := w.background("wait", "web", "--for", "log:^last$")
	w.eventually("it waits", func() bool { return w.doc(0, "daemon", "status").Daemon.Connections >= 2 })
	w.touch("go")
	r := <-wait
	require.Zero(t, r.code, r.stderr)
}

// TestFollowALogThatWasRemoved: rm forgets the log; one that is made anew is shown.
func TestFollowALogThatWasRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "echo", "one")
	f := w.follow("logs", "-f", "web")
	f.until(`^one$`)
	w.haveEnded("web")
	w.ok("rm", "web")
	w.ok("run", "web", "--", "echo", "two")
	f.until(`^two$`)
	f.interrupt()
	require.Equal(t, []string{"one", "two"}, f.lines())
}

// TestFollowerGrepAndTimes: -g and -t go for what is still to come, too.
func TestFollowerGrepAndTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", `echo yes 1; echo no 1; until [ -e go ]; do sleep 0.02; done; echo no 2; echo yes 2; exec sleep 1000`)
	f := w.follow("logs", "-f", "-t", "-g", "^yes", "web")
	f.until(`^\S+ yes 1$`)
	require.NoError(t, os.WriteFile(filepath.Join(w.project, "go"), nil, 0o600))
	f.until(`^\d{4}-\d\d-\d\dT\S+ yes 2$`)
	f.interrupt()
	require.NotContains(t, f.text(), "no")
}

// TestSinceMeansArrival: lines from before the time are left out, those from after it are there.
func TestSinceMeansArrival(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", `echo old; until [ -e go ]; do sleep 0.02; done; echo new; exec sleep 1000`)
	w.ok("wait", "web", "--for", "log:old")
	w.ok("run", "other", "--", "true") // takes its time: times are kept in steps
	at := time.Now()
	require.NoError(t, os.WriteFile(filepath.Join(w.project, "go"), nil, 0o600))
	w.ok("wait", "web", "--for", "log:new")
	require.Equal(t, "new\n", w.ok("logs", "--since", at.UTC().Format(time.RFC3339Nano), "web").stdout)
	require.Equal(t, "new\n", w.ok("logs", "--since", at.Format(time.RFC3339Nano), "web").stdout)
}

// TestLogsIntoHead: whoever has seen enough is no error, in a pipe that ends and in one that
// goes on.
func TestLogsIntoHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "many", "--", "seq", "200000")
	w.ok("run", "web", "--", "sh", "-c", "echo 1; exec sleep 1000")
	w.haveEnded("many")
	w.ok("wait", "web", "--for", "log:1")
	for _, args := range []string{"logs -n 1000000 many", "logs -f many", "logs -f web", "logs -n 1000000", "logs --json -n 1000000 many", "ps", "list"} {
		r := w.shell(`hob ` + args + ` | head -n 1; exit "${PIPESTATUS[0]}"`)
		require.Contains(t, []int{0, 128 + int(syscall.SIGPIPE)}, r.code, "hob %s", args)
		require.Equal(t, 1, strings.Count(r.stdout, "\n"), "hob %s", args)
		require.Empty(t, r.stderr, "hob %s", args)
	}
}

// TestLogsOfAnyBytes: the segment has what was written. What is shown has no control characters;
// a terminal gets valid UTF-8, anything else the bytes as they are.
func TestLogsOfAnyBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const format = `nul \000 bad \377 good \303\244 esc \033[31mred\033[0m\033]0;title\007 bell \007 cr\r tab \t end\n`
	w.ok("run", "web", "--", "sh", "-c", `printf "$0"`, format)
	w.haveEnded("web")
	raw := "nul \x00 bad \xff good ä esc \x1b[31mred\x1b[0m\x1b]0;title\a bell \a cr\r tab \t end\n"
	require.Equal(t, raw, w.segments("web"))
	require.Equal(t, "nul  bad \xff good ä esc red bell  cr tab \t end\n", w.ok("logs", "web").stdout)
	if _, err := exec.LookPath("script"); err != nil {
		return
	}
	cmd := exec.Command("script", "-qec", "hob logs web", os.DevNull)
	cmd.Dir, cmd.Env = w.project, w.environ("TERM=xterm")
	r := w.run(cmd)
	require.Equal(t, "nul  bad � good ä esc \x1b[31mred\x1b[0m bell  cr tab \t end\r\n", r.stdout)
}

// segments is everything in the files of a log.
func (w *world) segments(name string) string {
	w.t.Helper()
	paths, err := filepath.Glob(w.inst().Path("log", name, "*.log"))
	require.NoError(w.t, err)
	var all strings.Builder
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(w.t, err)
		all.Write(data)
	}
	return all.String()
}

// TestHugeLine: 64 MB without a newline are in the segment byte by byte, and shown so.
func TestHugeLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--no-wait", "--", "sh", "-c", `seq 10000000 | tr -d "\n" | head -c 67108864 | tee copy; echo; echo next`)
	w.ok("wait", "web", "--for", "exit")
	want, err := os.ReadFile(filepath.Join(w.project, "copy"))
	require.NoError(t, err)
	require.Len(t, want, 64<<20)
	require.True(t, w.segments("web") == string(want)+"\nnext\n", "the segment differs")
	require.True(t, w.ok("logs", "-n", "2", "web").stdout == string(want)+"\nnext\n", "what is shown differs")
	require.Equal(t, "next\n", w.ok("logs", "-n", "1", "web").stdout)
}

// TestSlowFollowerNeverSlowsTheService: one that was stopped, and one whose pipe nobody reads,
// while the service writes 50 MB to its end.
func TestSlowFollowerNeverSlowsTheService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", `echo begin; until [ -e go ]; do sleep 0.02; done; yes 0123456789 | head -c 8388608; echo; echo end`)
	f := w.follow("logs", "-f", "web")
	f.until(`^begin$`)
	f.signal(syscall.SIGSTOP)
	unread, write, err := os.Pipe()
	require.NoError(t, err)
	defer unread.Close()
	cmd := w.command("logs", "-f", "web")
	cmd.Stdout = write
	require.NoError(t, cmd.Start())
	write.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.NoError(t, os.WriteFile(filepath.Join(w.project, "go"), nil, 0o600))
	w.ok("wait", "web", "--for", "exit")
	require.Equal(t, len("begin\n")+8388608+len("\nend\n"), len(w.segments("web")))
	require.Zero(t, w.doc(0, "ps", "web").Service.LogLost)
	require.Equal(t, "begin\n", f.text())
	f.signal(syscall.SIGCONT)
	f.until(`^end$`)
	f.interrupt()
	require.True(t, f.text() == w.segments("web"), "it missed nothing")
}

// TestFullDiskCostsLinesOnly: with no room for its log a service goes on; what was lost is
// counted, and shown. When there is room, the log goes on, too.
func TestFullDiskCostsLinesOnly(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.stateDir(), 0o700))
	require.NoError(t, syscall.Mount("hob-test", w.stateDir(), "tmpfs", syscall.MS_NOSUID, "size=4m,mode=0700"))
	t.Cleanup(func() {
		w.end()
		// A process that was killed has its files open for a moment longer.
		w.eventually("nobody has a file there", func() bool { return syscall.Unmount(w.stateDir(), 0) == nil })
	})
	w.ok("run", "web", "--", "sh", "-c", `echo begin; until [ -e full ]; do sleep 0.02; done; yes | head -c 3000000; touch wrote; `+
		`until [ -e room ]; do sleep 0.02; done; echo; echo again; exec sleep 1000`)
	pid := w.doc(0, "ps", "web").Service.Pid
	require.Zero(t, w.doc(0, "ps", "web").Service.LogLost)
	filler := filepath.Join(w.stateDir(), "filler")
	fill(filler)
	touch := func(name string) { require.NoError(t, os.WriteFile(filepath.Join(w.project, name), nil, 0o600)) }
	touch("full")
	w.eventually("the service writes on", func() bool { _, err := os.Stat(filepath.Join(w.project, "wrote")); return err == nil })
	w.eventually("the loss is counted", func() bool { return w.doc(0, "ps", "web").Service.LogLost > 2_000_000 })
	require.Regexp(t, `(?m)^log lost +2\.\dM$`, w.ok("ps", "web").stdout)
	require.Equal(t, pid, w.doc(0, "ps", "web").Service.Pid)
	w.ok("ps")
	w.ok("daemon", "ping")

	require.NoError(t, os.RemoveAll(filler))
	touch("room")
	w.ok("wait", "web", "--for", "log:again", unhurried)
	now := w.doc(0, "ps", "web").Service
	require.Equal(t, pid, now.Pid)
	require.Equal(t, "running", now.State)
	require.EqualValues(t, 3_000_000+len("begin\n")+len("\nagain\n"), now.LogLost+int64(len(w.segments("web"))), "every byte is kept or counted")

	fill(filler)
	w.ok("stop", "web")
	require.False(t, running(pid))
}
