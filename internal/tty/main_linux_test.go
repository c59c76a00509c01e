package tty

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patient bounds every wait for something that must happen.
const patient = 30 * time.Second

// helperEnv makes the test binary a process without a controlling terminal.
const helperEnv = "TTY_TEST_HELPER"

func TestMain(m *testing.M) {
	// One that is ignored, by nohup(1), would be ignored by what the tests start, too; one that is caught is not (signal(7)).
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	if os.Getenv(helperEnv) != "" {
		os.Exit(playManager())
	}
	goleak.VerifyTestMain(m)
}

// playManager opens a terminal as a session leader and tells whether it has become its own.
func playManager() int {
	_, slave, err := Open()
	if err != nil {
		return 10
	}
	if _, err := slave.WriteString("x"); err != nil {
		return 11
	}
	_, err = os.Open("/dev/tty")
	if !errors.Is(err, unix.ENXIO) {
		fmt.Println(err)
		return 12
	}
	return 0
}

// output is a log that a test can look at while it grows.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) waitFor(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() bool { return strings.Contains(o.String(), text) }, "%q in %q", text, o)
}

// eventually polls until ok, within patient.
func eventually(t *testing.T, ok func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(patient); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "never came: "+fmt.Sprintf(format, args...))
		}
	}
}

// collect reads an attachment to its end, aside.
func collect(t *testing.T, a *Attachment) (*output, <-chan struct{}) {
	o, done := &output{}, make(chan struct{})
	t.Cleanup(func() { a.Close(); wait(t, done) })
	go func() {
		defer close(done)
		for part := range a.C() {
			_, _ = o.Write(part)
		}
	}()
	return o, done
}

func wait[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patient):
		require.FailNow(t, "never came")
	}
	return v
}

// open is Open with the terminal closed at the end of the test.
func open(t *testing.T) (*Terminal, *os.File) {
	t.Helper()
	term, slave, err := Open()
	require.NoError(t, err)
	t.Cleanup(func() { slave.Close(); require.NoError(t, term.Close()) })
	return term, slave
}

// service is a process on a terminal.
type service struct {
	*exec.Cmd
	ended chan error
}

// start starts a program with the slave as its controlling terminal, and closes that. It is killed at the end of the test.
func start(t *testing.T, slave *os.File, files []*os.File, args ...string) *service {
	t.Helper()
	s := &service{exec.Command(args[0], args[1:]...), make(chan error, 1)}
	s.Env = []string{"PATH=" + os.Getenv("PATH"), "TERM=dumb"}
	s.Stdin, s.Stdout, s.Stderr, s.ExtraFiles = slave, slave, slave, files
	s.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, s.Start())
	require.NoError(t, slave.Close())
	done := make(chan struct{})
	go func() { s.ended <- s.Wait(); close(done) }()
	t.Cleanup(func() { _ = s.Process.Kill(); wait(t, done) })
	return s
}

// endedBy waits for the end, by a signal.
func (s *service) endedBy(t *testing.T, sig syscall.Signal) {
	t.Helper()
	exit, ok := errors.AsType[*exec.ExitError](wait(t, s.ended))
	require.True(t, ok)
	require.Equal(t, sig, exit.Sys().(syscall.WaitStatus).Signal())
}

// run starts a shell script on a terminal that is pumped; the last channel has what Pump returned.
func run(t *testing.T, script string) (*Terminal, *service, *output, <-chan error) {
	t.Helper()
	term, slave := open(t)
	s := start(t, slave, nil, "sh", "-c", script)
	log, end := pump(t, term)
	return term, s, log, end
}

func pump(t *testing.T, term *Terminal) (*output, <-chan error) {
	log, end, done := &output{}, make(chan error, 1), make(chan struct{})
	go func() { end <- term.Pump(log); close(done) }()
	t.Cleanup(func() { require.NoError(t, term.Close()); wait(t, done) })
	return log, end
}
