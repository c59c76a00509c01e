package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const helperVar = "HOB_CLIENT_TEST_HELPER"

func TestMain(m *testing.M) {
	role := os.Getenv(helperVar)
	if role == "" {
		os.Exit(m.Run())
	}
	time.AfterFunc(10*patience, func() { os.Exit(99) }) // nothing outlives a broken test for long
	switch err := helpers[role](os.Args[1:]); {
	case errors.Is(err, context.Canceled):
		os.Exit(4)
	case errors.Is(err, unix.EPIPE):
		os.Exit(3)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helpers are what this binary plays for tests.
var helpers = map[string]func(args []string) error{"bridge": playBridge, "echo": playEcho}

// playBridge is what hob connect does, with a network and an address, until SIGTERM.
func playBridge(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	sock, err := connectTo(args[0], args[1])
	if err != nil {
		return err
	}
	return bridge(ctx, sock, 0, 1, func() { fmt.Fprint(os.Stderr, "heard ") })
}

// connectTo gives the descriptor of a connection.
func connectTo(network, address string) (int, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return -1, err
	}
	defer c.Close()
	return dup(c.(peer))
}

func dup(c peer) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// peer is the other end of the connection.
type peer interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
}

// bridging is a process with a bridge between pipes and peer.
type bridging struct {
	t      *testing.T
	peer   peer
	stdin  *os.File
	stdout *os.File
	theirs [2]*os.File // the process's ends
	stderr *os.File
	cmd    *exec.Cmd
}

// newBridging starts one. With nonblock its ends of the pipes do not block.
func newBridging(t *testing.T, network string, nonblock bool) *bridging {
	t.Helper()
	dir, err := os.MkdirTemp("", "hob-b-") // a short path: unix(7)
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	defer l.Close()

	b := &bridging{t: t}
	var in, out [2]*os.File
	in[0], in[1], err = pipe(nonblock, false)
	require.NoError(t, err)
	out[0], out[1], err = pipe(false, nonblock)
	require.NoError(t, err)
	b.stdin, b.stdout, b.theirs = in[1], out[0], [2]*os.File{in[0], out[1]}
	for _, f := range []*os.File{in[0], in[1], out[0], out[1]} {
		t.Cleanup(func() { f.Close() })
	}
	b.cmd = helper(t, "bridge", network, l.Addr().String())
	b.stderr, err = os.Create(filepath.Join(dir, "stderr"))
	require.NoError(t, err)
	t.Cleanup(func() { b.stderr.Close() })
	b.cmd.Stdin, b.cmd.Stdout, b.cmd.Stderr = in[0], out[1], b.stderr
	require.NoError(t, b.cmd.Start())
	t.Cleanup(func() { _ = b.cmd.Process.Kill(); _ = b.cmd.Wait() })
	require.NoError(t, out[1].Close())
	c, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(2*patience)))
	b.peer = c.(peer)
	return b
}

func helper(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), helperVar+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// pipe makes one of which the reading or the writing end does not block. os.NewFile leaves that so for a child, too.
func pipe(read, write bool) (r, w *os.File, err error) {
	p, err := private(func(p *[2]int) error { return unix.Pipe(p[:]) })
	if err != nil {
		return nil, nil, err
	}
	for i, nonblock := range []bool{read, write} {
		if err := unix.SetNonblock(p[i], nonblock); err != nil {
			return nil, nil, err
		}
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

// private makes two descriptors that no process which another test starts meanwhile keeps open.
func private(make func(*[2]int) error) (p [2]int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := make(&p); err != nil {
		return p, err
	}
	unix.CloseOnExec(p[0])
	unix.CloseOnExec(p[1])
	return p, nil
}

// exits verifies how the process ends.
func (b *bridging) exits(code int) {
	b.t.Helper()
	kill := time.AfterFunc(patience, func() { _ = b.cmd.Process.Kill() })
	defer kill.Stop()
	_ = b.cmd.Wait()
	require.Equal(b.t, code, b.cmd.ProcessState.ExitCode(), b.words())
}

// words are what it has said to stderr.
func (b *bridging) words() string {
	b.t.Helper()
	words, err := os.ReadFile(b.stderr.Name())
	require.NoError(b.t, err)
	return string(words)
}

func (b *bridging) hears(text string) {
	b.t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(b.peer, got)
	require.NoError(b.t, err)
	require.Equal(b.t, text, string(got))
}

func (b *bridging) shows(text string) {
	b.t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(b.stdout, got)
	require.NoError(b.t, err)
	require.Equal(b.t, text, string(got))
}

// stopsReading closes stdout when no child that another test starts has it open any more, until its exec: what is written before would be no error.
func (b *bridging) stopsReading() {
	b.t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(b.t, b.stdout.Close())
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
}

// readable reports whether there is something in a pipe now.
func canRead(f *os.File) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}, 0)
	return err == nil && n == 1
}

// joined is a socket with a peer, for a bridge in this process.
func joined(t *testing.T) (sock int, other *os.File) {
	t.Helper()
	p, err := private(func(p *[2]int) (err error) { *p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err })
	require.NoError(t, err)
	other = os.NewFile(uintptr(p[1]), "peer")
	t.Cleanup(func() { other.Close() })
	return p[0], other
}
