package sentry

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// The test binary plays the sentry and hobd: with this variable set it is a helper, not a test.
const helperEnv = "SENTRY_TEST_HELPER"

// patience bounds every wait for something that must happen. No test asserts how long anything takes.
const patience = 30 * time.Second

var helpers = map[string]func(args []string){
	"sentry": playSentry,
	"mute":   func([]string) { select {} },
	"ends":   func([]string) { os.Exit(3) },
	"hobd":   playDaemon,
	"taker":  playTaker,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		time.AfterFunc(4*patience, func() { os.Exit(99) }) // nothing outlives a broken test for long
		helpers[name](os.Args[1:])
		os.Exit(0)
	}
	// What the tests inherited from whoever runs them must not reach a sentry.
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if n, err := strconv.Atoi(fd.Name()); err == nil && n > 2 {
			unix.CloseOnExec(n)
		}
	}
	goleak.VerifyTestMain(m)
}

// report is a line that a sentry writes when its watch is over.
type report struct {
	End     End
	Pid     int
	Exit    process.Exit
	Kept    int
	Writers bool

	Upgrading, Blame bool
}

// playSentry says how its watch ended, and when nobody has its FIFOs open for writing any more. An orphan goes on
// until it is killed.
func playSentry([]string) {
	p, err := Take()
	must(err)
	dir := strings.TrimPrefix(os.Args[0], "sentry of ")
	if _, err := os.Stat(filepath.Join(dir, "impatient")); err == nil {
		p.patience = patience / 2
	}
	r := report{End: p.Watch()}
	r.Kept, r.Writers = p.Kept(), p.Writers()
	if r.End != Dismissed {
		r.Pid, r.Exit = p.Daemon()
		r.Upgrading, r.Blame = p.Upgrade()
	}
	must(json.NewEncoder(os.Stdout).Encode(r))
	if r.End == Dismissed {
		return
	}
	for p.Writers() {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("no writers")
	select {}
}

// playDaemon keeps a sentry for the FIFOs in a directory, which it has open as hobd does. It ends by what it is told.
func playDaemon(args []string) {
	dir := args[0]
	for _, path := range fifosIn(dir)() {
		_, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		must(err)
	}
	o := options(dir, "sentry")
	if len(args) > 1 {
		o.Door, o.Files = filepath.Join(dir, "door"), filesOf(dir)
	}
	k := Keep(o)
	k.Sync()
	fmt.Println(k.child.proc.ID().Pid)
	in := bufio.NewScanner(os.Stdin)
	var sentry *os.File
	for in.Scan() {
		switch in.Text() {
		case "upgrade":
			sentry = k.HandOver()
			must(os.WriteFile(filepath.Join(dir, "upgraded"), nil, 0o600))
		case "dismiss":
			must(Dismiss(sentry))
		case "retire":
			k.Close(true)
		case "panic":
			panic("as told")
		case "exit":
			os.Exit(0)
		}
	}
}

// filesOf are a listening socket and a terminal that shows what it is, as hobd has them.
func filesOf(dir string) func() map[string]*os.File {
	l, err := net.Listen("unix", filepath.Join(dir, "web.sock"))
	must(err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	master, _, err := pty()
	must(err)
	return func() map[string]*os.File {
		sock, err := l.(*net.UnixListener).File()
		must(err)
		fd, err := unix.Dup(int(master.Fd()))
		must(err)
		unix.CloseOnExec(fd)
		return map[string]*os.File{"socket/web": sock, "tty/web": os.NewFile(uintptr(fd), "tty")}
	}
}

// pty makes a terminal, and starts a process there that writes when it is hung up, and otherwise what it reads.
func pty() (master *os.File, cmd *exec.Cmd, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer slave.Close()
	cmd = exec.Command("cat")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return os.NewFile(uintptr(fd), "master"), cmd, cmd.Start()
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
}

// options are for a keeper of all FIFOs in dir/fifo; what its sentries say is in dir/said.
func options(dir, helper string) Options {
	return Options{
		Command: Command{Program: program("/proc/self/exe"), Args: []string{"sentry of " + dir},
			Env: []string{helperEnv + "=" + helper, "GOMAXPROCS=1"},
			Output: func() (*os.File, error) {
				return os.OpenFile(filepath.Join(dir, "said"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
			}},
		FIFOs: fifosIn(dir),
		Log:   slog.New(slog.DiscardHandler),
	}
}

func program(path string) func() (string, error) {
	return func() (string, error) { return path, nil }
}

func fifosIn(dir string) func() map[string]string {
	return func() map[string]string {
		all := map[string]string{}
		entries, _ := os.ReadDir(filepath.Join(dir, "fifo"))
		for _, e := range entries {
			all[e.Name()] = filepath.Join(dir, "fifo", e.Name())
		}
		return all
	}
}

// place is a directory with a FIFO for each name.
func place(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "fifo"), 0o700))
	for _, name := range names {
		mkfifo(t, dir, name)
	}
	return dir
}

func mkfifo(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, "fifo", name)
	require.NoError(t, unix.Mkfifo(path, 0o600))
	return path
}

// keep is a keeper for the test's time.
func keep(t *testing.T, o Options) *Keeper {
	t.Helper()
	k := Keep(o)
	t.Cleanup(func() { k.Close(false) })
	return k
}

func said(dir string) string {
	data, _ := os.ReadFile(filepath.Join(dir, "said"))
	return string(data)
}

// reported is the report of the first sentry, when it is there.
func reported(t *testing.T, dir string) report {
	t.Helper()
	var r report
	eventually(t, "the sentry says how its watch ended", func() bool {
		line, _, ok := strings.Cut(said(dir), "\n")
		return ok && json.Unmarshal([]byte(line), &r) == nil
	})
	return r
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, time.Millisecond, what)
}

// sentries are those that were started for dir and run.
func sentries(dir string) []int {
	var pids []int
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range entries {
		data, _ := os.ReadFile(path)
		if string(data) == "sentry of "+dir+"\x00" {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			if info, err := process.Stat(pid); err == nil && !info.Dead() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// noneIsLeft waits for that: a process that was told to go, or killed, may take a moment.
func noneIsLeft(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "no sentry is left", func() bool { return len(sentries(dir)) == 0 })
}

// theSentry is the one that runs for dir.
func theSentry(t *testing.T, dir string) int {
	t.Helper()
	var pids []int
	eventually(t, "there is one sentry", func() bool {
		pids = sentries(dir)
		return len(pids) == 1
	})
	return pids[0]
}

// keeps are the names that the descriptors of a process from 4 up have, and modes.
func keeps(pid int) map[string]string {
	all := map[string]string{}
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.Contains(to, "/fifo/") {
			continue
		}
		info, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/fdinfo/" + e.Name())
		_, flags, _ := strings.Cut(string(info), "flags:")
		flags, _, _ = strings.Cut(flags, "\n")
		all[filepath.Base(to)] = flags
	}
	return all
}

// daemon is a hobd that the test can end.
type daemon struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	dir    string
	sentry int
	wait   func() error
}

func startDaemon(t *testing.T, dir string, more ...string) *daemon {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{dir}, more...)...)
	cmd.Env = append(os.Environ(), helperEnv+"=hobd")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	d := &daemon{cmd: cmd, in: in, dir: dir, wait: sync.OnceValue(cmd.Wait)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = d.wait()
		d.killSentry(t)
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	d.sentry, err = strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	return d
}

// killSentry ends the sentry of a daemon that is gone.
func (d *daemon) killSentry(t *testing.T) {
	t.Helper()
	for _, pid := range sentries(d.dir) {
		id, err := process.Identify(pid)
		_ = unix.Kill(pid, unix.SIGKILL)
		// A process has no command line any more before its files are closed.
		eventually(t, "the sentry has ended", func() bool { return err != nil || !id.Alive() })
	}
	noneIsLeft(t, d.dir)
}

func (d *daemon) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGKILL))
	_ = d.wait()
}

func (d *daemon) tell(t *testing.T, what string) {
	t.Helper()
	_, err := io.WriteString(d.in, what+"\n")
	require.NoError(t, err)
}
