package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func playStep() { os.Exit(ExecStep(os.Args[1:])) }

// viaStep has a Spec go through the step that this test binary is.
func viaStep(t *testing.T, s Spec) Spec {
	helperUsed.Store("step", true)
	s.Via = []string{self(t)}
	s.Env = append(s.Env, helperEnv+"=step")
	return s
}

// said gives what a program writes, once it has ended.
func said(t *testing.T, s Spec, args ...string) string {
	t.Helper()
	out := create(t, "out")
	s.Output = out
	p := start(t, s, args...)
	waitDone(t, p)
	text, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	return string(text)
}

// TestStepLeavesTheProgramItsPid: LISTEN_PID is the program's own, an earlier one is gone, and without LISTEN_FDS there is none.
func TestStepLeavesTheProgramItsPid(t *testing.T) {
	t.Parallel()
	const show = `echo "$LISTEN_PID $$ $0 $1"`
	text := said(t, viaStep(t, Spec{Env: []string{"LISTEN_FDS=1", "LISTEN_PID=1"}}), "sh", "-c", show, "zero", "one two")
	f := strings.Fields(text)
	require.Len(t, f, 5, text)
	require.Equal(t, f[1], f[0])
	require.Equal(t, []string{"zero", "one", "two"}, f[2:])
	require.Regexp(t, `^ \d+ zero`, said(t, viaStep(t, Spec{Env: []string{"LISTEN_PID=1"}}), "sh", "-c", show, "zero"))
}

// TestStepIsGoneOnceTheProgramRuns: when Start returns, the process is the program, with its descriptors and nobody else's.
func TestStepIsGoneOnceTheProgramRuns(t *testing.T) {
	t.Parallel()
	lock, sock := create(t, "web.lock"), create(t, "sock")
	for _, extra := range [][]Extra{{{FD: 3, File: sock}}, {{FD: 3, File: sock}, {FD: 11, File: sock}, {FD: 12, File: sock}}} {
		p := start(t, viaStep(t, Spec{Lock: lock, Extra: extra}), "sleep", "600")
		pid := strconv.Itoa(p.ID().Pid)
		eventually(t, func() bool {
			line, err := os.ReadFile("/proc/" + pid + "/cmdline")
			return err == nil && string(line) == "sleep\x00600\x00"
		}, "it has its arguments")
		want := map[int]string{0: os.DevNull, 1: os.DevNull, 2: os.DevNull, LockDescriptor: lock.Name()}
		for _, x := range extra {
			want[x.FD] = sock.Name()
		}
		requireDescriptors(t, want, p)
	}
}

// TestStepTellsWhatExecWouldHave: the same error as without it, and nothing is left.
func TestStepTellsWhatExecWouldHave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plain"), []byte("#!/bin/sh\n"), 0o600))
	junk := writeProgram(t, filepath.Join(dir, "junk"), "\x00\x01junk")
	lost := writeProgram(t, filepath.Join(dir, "lost"), "#!/no/such/interpreter\n")
	for what, s := range map[string]Spec{
		"missing": {Path: filepath.Join(dir, "missing")}, "a directory": {Path: dir}, "not executable": {Path: filepath.Join(dir, "plain")},
		"junk": {Path: junk}, "no interpreter": {Path: lost}, "no directory": {Path: "/bin/true", Dir: filepath.Join(dir, "nowhere")},
	} {
		_, plain := Start(s)
		require.Error(t, plain, what)
		_, err := Start(viaStep(t, s))
		require.EqualError(t, err, plain.Error(), what)
		var a, b syscall.Errno
		require.True(t, errors.As(err, &a) && errors.As(plain, &b), what)
		require.Equal(t, b, a, what)
	}
}

// TestStepIsNobodyElsesToCall: it says so, and does not crash.
func TestStepIsNobodyElsesToCall(t *testing.T) {
	for _, args := range [][]string{nil, {"x"}, {"1", "/bin/true", "true"}, {"11"}, {"11", "/bin/true"}} {
		require.Equal(t, stepFailed, ExecStep(args), "%q", args)
	}
}

// terminalOf makes a pseudo-terminal by hand.
func terminalOf(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { master.Close() })
	conn, err := master.SyscallConn()
	require.NoError(t, err)
	var n int
	require.NoError(t, conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}))
	require.NoError(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// TestProcessHasItsTerminal: all three are it, it is the session's own, and what is typed there as an interrupt is one; also with a step before.
func TestProcessHasItsTerminal(t *testing.T) {
	t.Parallel()
	for _, step := range []bool{false, true} {
		master, slave := terminalOf(t)
		s := Spec{TTY: slave, Env: []string{"PATH=" + os.Getenv("PATH")}}
		if step {
			s = viaStep(t, s)
		}
		p := start(t, s, "sh", "-c", `trap 'echo interrupted; exit 9' INT; test -t 0 && test -t 1 && test -t 2 && : >/dev/tty && echo terminal; while :; do sleep 0.01; done`)
		slave.Close()
		read := func(want string) {
			t.Helper()
			var seen strings.Builder
			buf := make([]byte, 1024)
			for !strings.Contains(seen.String(), want) {
				n, err := master.Read(buf)
				require.NoError(t, err, seen.String())
				seen.Write(buf[:n])
			}
		}
		read("terminal")
		_, err := master.Write([]byte{3}) // ^C
		require.NoError(t, err)
		read("interrupted")
		waitDone(t, p)
		require.Equal(t, 9, p.Exit().Code)
	}
}

// TestWatchTellsOfAnyProcess: a child's end and a stranger's, and not that of a later process with the same pid.
func TestWatchTellsOfAnyProcess(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sleep", "600")
	done, stop, err := Watch(p.ID())
	require.NoError(t, err)
	defer stop()
	_, other, err := Watch(p.ID())
	require.NoError(t, err)
	other()
	other()
	select {
	case <-done:
		require.Fail(t, "it runs")
	default:
	}
	require.NoError(t, p.Signal(unix.SIGKILL))
	<-done
	_, _, err = Watch(p.ID())
	require.ErrorIs(t, err, os.ErrProcessDone, "a zombie")
	wrong := p.ID()
	wrong.Pid, wrong.Start = os.Getpid(), wrong.Start+1
	_, _, err = Watch(wrong)
	require.ErrorIs(t, err, os.ErrProcessDone)
	_, _, err = Watch(ID{})
	require.ErrorIs(t, err, os.ErrProcessDone)
	stranger := exec.Command("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
	text, err := stranger.Output() // its parent is gone
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	id, err := Identify(pid)
	require.NoError(t, err)
	t.Cleanup(func() { killID(id) })
	done, stop, err = Watch(id)
	require.NoError(t, err)
	defer stop()
	killID(id)
	<-done
}
