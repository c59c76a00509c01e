package tty

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
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// numbers is what seq(1) writes.
func numbers(n int, end string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d%s", i+1, end)
	}
	return b.String()
}

func TestOutputArrivesComplete(t *testing.T) {
	term, slave := open(t)
	seen, all := collect(t, term.Attach())
	start(t, slave, nil, "seq", "20000")
	log, end := pump(t, term)
	require.NoError(t, wait(t, end))
	wait(t, all)
	require.Equal(t, numbers(20000, "\n"), log.String())
	require.Equal(t, numbers(20000, "\r\n"), seen.String())
}

// TestLastWordsArrive: what the kernel still had when the session leader ended is not lost, also where a child that
// ignores the hangup keeps the terminal open.
func TestLastWordsArrive(t *testing.T) {
	const n = 9000
	for name, child := range map[string]string{"alone": "", "with a child": "trap '' HUP; (read x <&3) & trap - HUP; "} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			defer w.Close() // ends the child
			term, slave := open(t)
			s := start(t, slave, []*os.File{r}, "sh", "-c", child+"exec head -c "+strconv.Itoa(n)+" /dev/zero")
			require.NoError(t, wait(t, s.ended))
			log, end := pump(t, term)
			eventually(t, func() bool { return len(log.String()) == n }, "%d bytes", n)
			if child != "" {
				require.Empty(t, end, "the terminal lives as long as somebody has it open")
			}
			w.Close()
			require.NoError(t, wait(t, end))
			require.Len(t, log.String(), n)
		})
	}
}

func TestLogHasTheLineEndsThatWereMeant(t *testing.T) {
	term, slave := open(t)
	seen, all := collect(t, term.Attach())
	start(t, slave, nil, "printf", `10%%\r20%%\r\nend\n\r`)
	log, end := pump(t, term)
	require.NoError(t, wait(t, end))
	wait(t, all)
	require.Equal(t, "10%\r20%\r\nend\n\r", log.String())
	require.Equal(t, "10%\r20%\r\r\nend\r\n\r", seen.String())
}

func TestResizeIsSeen(t *testing.T) {
	term, _, log, _ := run(t, `trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done`)
	log.waitFor(t, "40 120\n")
	require.NoError(t, term.Resize(50, 100))
	log.waitFor(t, "50 100\n")
	rows, cols, err := term.Size()
	require.NoError(t, err)
	require.Equal(t, [2]uint16{50, 100}, [2]uint16{rows, cols})
}

func TestInputIsEchoedAndRead(t *testing.T) {
	term, _, log, end := run(t, `read line; echo "got $line"`)
	n, err := term.Write([]byte("hello\r"))
	require.NoError(t, err)
	require.Equal(t, 6, n)
	require.NoError(t, wait(t, end))
	require.Equal(t, "hello\ngot hello\n", log.String())
}

func TestControlCInterrupts(t *testing.T) {
	term, s, log, end := run(t, `echo up; exec sleep 1000`)
	log.waitFor(t, "up\n")
	_, err := term.Write([]byte{3})
	require.NoError(t, err)
	s.endedBy(t, unix.SIGINT)
	require.NoError(t, wait(t, end))
	require.Equal(t, "up\n^C", log.String())
}

// TestNobodyWaitsForWhoDoesNotRead but the slow one itself is attached no more.
func TestNobodyWaitsForWhoDoesNotRead(t *testing.T) {
	term, slave := open(t)
	slow := term.Attach()
	defer slow.Close()
	seen, all := collect(t, term.Attach())
	// In parts, so that who does read is not too slow on a busy machine.
	start(t, slave, nil, "sh", "-c", "stty -echo; seq 100000; read x; seq 100001 200000; read x; seq 200001 300000")
	log, end := pump(t, term)
	for _, n := range []string{"100000", "200000"} {
		seen.waitFor(t, "\r\n"+n+"\r\n")
		_, err := term.Write([]byte("\n"))
		require.NoError(t, err)
	}
	require.NoError(t, wait(t, end))
	wait(t, all)
	require.Equal(t, numbers(300000, "\n"), log.String())
	require.Equal(t, numbers(300000, "\r\n"), seen.String())
	n := 0
	for part := range slow.C() {
		n += len(part)
	}
	require.LessOrEqual(t, n, maxChunk)
	require.ErrorIs(t, slow.Err(), ErrTooSlow)
}

func TestAttachBeginsWithWhatWasWrittenLast(t *testing.T) {
	term, _, log, end := run(t, `seq 10000; read x; echo more`)
	log.waitFor(t, "\n10000\n")
	before := strings.ReplaceAll(log.String(), "\n", "\r\n")
	seen, all := collect(t, term.Attach())
	_, err := term.Write([]byte("\n"))
	require.NoError(t, err)
	require.NoError(t, wait(t, end))
	wait(t, all)
	old, found := strings.CutSuffix(seen.String(), "\r\nmore\r\n")
	require.True(t, found, seen.String())
	require.True(t, strings.HasSuffix(before, "\r\n"+old))
	require.Greater(t, len(old), keep-10)
	require.LessOrEqual(t, len(old), keep)

	late := term.Attach()
	defer late.Close()
	seen, all = collect(t, late)
	wait(t, all)
	require.True(t, strings.HasSuffix(seen.String(), "\r\n10000\r\n\r\nmore\r\n"), "a terminal that has ended")
	require.NoError(t, late.Err())
}

func TestServiceDoesNotNoticeTakeover(t *testing.T) {
	first, s, log, end := run(t, `while read x; do echo "got $x"; done`)
	_, err := first.Write([]byte("one\n"))
	require.NoError(t, err)
	log.waitFor(t, "got one\n")
	kept, err := first.File()
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.NoError(t, wait(t, end))

	second, err := FromFile(kept)
	require.NoError(t, err)
	defer second.Close()
	_, err = second.Write([]byte("two\n")) // before anybody reads
	require.NoError(t, err)
	log, end = pump(t, second)
	log.waitFor(t, "got two\n")
	require.Empty(t, s.ended)
	_, err = second.Write([]byte{4})
	require.NoError(t, err)
	require.NoError(t, wait(t, s.ended))
	require.NoError(t, wait(t, end))
}

func TestCloseHangsUp(t *testing.T) {
	term, s, log, end := run(t, `echo up; exec sleep 1000`)
	log.waitFor(t, "up\n")
	a := term.Attach()
	defer a.Close()
	require.NoError(t, term.Close())
	require.NoError(t, term.Close())
	require.NoError(t, wait(t, end))
	s.endedBy(t, unix.SIGHUP)
	for range a.C() {
	}
	_, err := term.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrClosed)
	require.ErrorIs(t, term.Resize(1, 1), os.ErrClosed)
	_, _, err = term.Size()
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = term.File()
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestWriteGivesUpOnWhoReadsNothing(t *testing.T) {
	term, _, log, _ := run(t, `stty raw -echo; echo up; exec sleep 1000`)
	log.waitFor(t, "up")
	term.patience = 100 * time.Millisecond
	n, err := term.Write(make([]byte, 1<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Less(t, n, 1<<20)
	require.Greater(t, n, 0)
}

func TestPumpEndsWhenTheLogFails(t *testing.T) {
	term, slave := open(t)
	a := term.Attach()
	defer a.Close()
	start(t, slave, nil, "echo", "last words")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	r.Close()
	defer w.Close()
	err = term.Pump(w)
	require.ErrorIs(t, err, unix.EPIPE)
	require.Equal(t, "last words\r\n", string(wait(t, a.C())))
	_, more := <-a.C()
	require.False(t, more)
}

func flags(t *testing.T, f *os.File) (nonblock, cloexec bool) {
	t.Helper()
	require.NoError(t, control(f, func(fd int) error {
		status, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		d, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		nonblock, cloexec = status&unix.O_NONBLOCK != 0, d&unix.FD_CLOEXEC != 0
		return err
	}))
	return nonblock, cloexec
}

// TestDescriptorsAreAsPromised: a service gets one that blocks, and no process one that it is not given.
func TestDescriptorsAreAsPromised(t *testing.T) {
	term, slave := open(t)
	nonblock, cloexec := flags(t, slave)
	require.False(t, nonblock)
	require.True(t, cloexec)
	f, err := term.File()
	require.NoError(t, err)
	defer f.Close()
	_ = f.Fd()
	for _, f := range []*os.File{term.master, f} {
		nonblock, cloexec = flags(t, f)
		require.True(t, nonblock)
		require.True(t, cloexec)
	}
}

func TestOpenGivesTheManagerNoControllingTerminal(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// terminals are the descriptors of pseudo-terminals that this process has.
func terminals(t *testing.T) (found []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && (strings.HasPrefix(to, "/dev/pts/") || strings.HasSuffix(to, "/ptmx")) {
			found = append(found, fd.Name()+" "+to)
		}
	}
	return found
}

func TestOpenLeavesNoDescriptor(t *testing.T) {
	before := terminals(t)
	for range 100 {
		term, slave, err := Open()
		require.NoError(t, err)
		f, err := term.File()
		require.NoError(t, err)
		require.NoError(t, term.Close())
		again, err := FromFile(f)
		require.NoError(t, err)
		require.NoError(t, slave.Close())
		require.NoError(t, again.Pump(&output{}), "nobody has it open")
		require.NoError(t, again.Close())
	}
	require.Equal(t, before, terminals(t))
}

func TestFromFileRefusesWhatIsNoMaster(t *testing.T) {
	_, slave := open(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	for name, f := range map[string]*os.File{"pipe": r, "slave": slave} {
		_, err := FromFile(f)
		require.ErrorIs(t, err, unix.ENOTTY, name)
		require.True(t, errors.Is(f.Close(), os.ErrClosed), "%s: it was taken over", name)
	}
}

// TestLeavingAtAnyTime is for the race detector: they come, read a little or nothing, and go.
func TestLeavingAtAnyTime(t *testing.T) {
	term, slave := open(t)
	start(t, slave, nil, "seq", "50000")
	stop, gone := make(chan struct{}), make(chan struct{}, 4)
	for i := range 4 {
		go func() {
			defer func() { gone <- struct{}{} }()
			for {
				a := term.Attach()
				for range i {
					<-a.C()
				}
				a.Close()
				a.Close()
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	log, end := pump(t, term)
	require.NoError(t, wait(t, end))
	close(stop)
	for range 4 {
		wait(t, gone)
	}
	require.Equal(t, numbers(50000, "\n"), log.String())
	require.Empty(t, term.attached)
}
