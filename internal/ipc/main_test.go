package ipc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is a deadline for what must happen: long, because a busy machine is no failure.
const patience = 60 * time.Second

// helpers are processes that the test binary plays. Each is used by a test.
var helpers = map[string]func(dir string) error{
	"bind":    helpBind,
	"starved": helpStarved,
	"silent":  helpSilent,
}

const helperVar, helperDirVar = "IPC_TEST_HELPER", "IPC_TEST_DIR"

func TestMain(m *testing.M) {
	if role := os.Getenv(helperVar); role != "" {
		if err := helpers[role](os.Getenv(helperDirVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := leaks(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leaks is goleak.Find with more patience: a Call that was given up may still be encoding its 16 MiB, which takes the race detector seconds.
func leaks() (err error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

// helper runs until its stdin is closed. line reads a line of its output.
type helper struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func startHelper(t *testing.T, role, dir string) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), helperVar+"="+role, helperDirVar+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { // a helper that was waited for is gone already
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &helper{cmd, stdin, bufio.NewReader(stdout)}
}

func (h *helper) line(t *testing.T) string {
	t.Helper()
	s, err := h.out.ReadString('\n')
	require.NoError(t, err, "helper said %q", s)
	return s[:len(s)-1]
}

func openDir(t *testing.T, path string) *os.File {
	t.Helper()
	d, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func tempDir(t *testing.T) *os.File {
	t.Helper()
	return openDir(t, t.TempDir())
}

func listen(t *testing.T, dir *os.File) *Listener {
	t.Helper()
	l, err := Listen(dir, "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func published(t *testing.T, dir *os.File) *Listener {
	t.Helper()
	l := listen(t, dir)
	require.NoError(t, l.Publish())
	return l
}

func connect(t *testing.T, dir *os.File) *net.UnixConn {
	t.Helper()
	c, err := Connect(t.Context(), dir, "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// socketpair returns two connected ends.
func socketpair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	return fileConn(t, fds[0]), fileConn(t, fds[1])
}

func fileConn(t testing.TB, fd int) *net.UnixConn {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	c, err := net.FileConn(f)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UnixConn)
}

// peer is the raw end of a connection under test.
type peer struct {
	*net.UnixConn
	t testing.TB
	r *bufio.Reader
}

// newConn returns a Conn with o, and its raw peer.
func newConn(t testing.TB, o ConnOptions) (*Conn, *peer) {
	t.Helper()
	a, b := socketpair(t)
	require.NoError(t, b.SetDeadline(time.Now().Add(patience)))
	c := NewConn(context.Background(), a, o)
	t.Cleanup(func() {
		_ = c.Close()
		c.Wait()
	})
	return c, &peer{b, t, bufio.NewReader(b)}
}

func (p *peer) send(s string) {
	p.t.Helper()
	_, err := io.WriteString(p.UnixConn, s)
	require.NoError(p.t, err)
}

func (p *peer) line() string {
	p.t.Helper()
	s, err := p.r.ReadString('\n')
	require.NoError(p.t, err, "got %q", s)
	return s
}

// rest reads until the connection ends, by an end of file or by a reset.
func (p *peer) rest() string {
	p.t.Helper()
	b, err := io.ReadAll(p.r)
	if err != nil {
		require.ErrorIs(p.t, err, unix.ECONNRESET)
	}
	return string(b)
}

// echo answers with the params it got.
func echo(_ context.Context, _ *Conn, req *Request) (any, error) { return req.Params, nil }

func within(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: did not happen", what)
	}
}
