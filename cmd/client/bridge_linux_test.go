package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// playBridge joins its stdin and stdout to descriptor 3.
func playBridge() int {
	if err := bridge(context.Background(), 3, 0, 1, nil); err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	return 0
}

// bridged is a bridge in a process of its own, and the other end of its socket.
type bridged struct {
	cmd  *exec.Cmd
	far  *net.TCPConn
	done chan error
}

// startBridge starts one whose stdin and stdout are those of cmd.
func startBridge(t *testing.T, set func(*exec.Cmd)) *bridged {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := l.Accept()
	require.NoError(t, err)
	f, err := near.(*net.TCPConn).File()
	require.NoError(t, err)
	defer f.Close()
	b := &bridged{cmd: exec.Command(os.Args[0]), far: far.(*net.TCPConn), done: make(chan error, 1)}
	b.cmd.Env, b.cmd.ExtraFiles = append(os.Environ(), bridgeEnv+"=1"), []*os.File{f}
	set(b.cmd)
	require.NoError(t, b.cmd.Start())
	require.NoError(t, b.far.SetDeadline(time.Now().Add(time.Minute)))
	go func() { b.done <- b.cmd.Wait() }()
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		b.far.Close()
	})
	return b
}

// ended waits for the end.
func (b *bridged) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-b.done:
		return err
	case <-time.After(time.Minute):
		require.Fail(t, "the bridge does not end")
		return nil
	}
}

// pipes gives the process pipes that do not block, as some parents have them.
func pipes(t *testing.T, cmd *exec.Cmd) (in, out *os.File) {
	t.Helper()
	theirs, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirs2, err := os.Pipe()
	require.NoError(t, err)
	for _, f := range []*os.File{theirs, theirs2} {
		conn, err := f.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, conn.Control(func(fd uintptr) { err = unix.SetNonblock(int(fd), true) }))
		require.NoError(t, err)
	}
	cmd.Stdin, cmd.Stdout = theirs, theirs2
	t.Cleanup(func() {
		for _, f := range []*os.File{theirs, theirs2, in, out} {
			f.Close()
		}
	})
	return in, out
}

// TestBridgeCarriesMuchBothWays: byte for byte, also where stdin and stdout do not block and nobody is in a hurry.
func TestBridgeCarriesMuchBothWays(t *testing.T) {
	t.Parallel()
	var in, out *os.File
	b := startBridge(t, func(cmd *exec.Cmd) { in, out = pipes(t, cmd) })
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20)
	back := bytes.ToUpper(data)
	errs := make(chan error, 3)
	go func() {
		_, err := in.Write(data)
		errs <- errors.Join(err, in.Close())
		errs <- b.cmd.Stdin.(*os.File).Close() // ours; the bridge has its own
	}()
	go func() {
		_, err := b.far.Write(back)
		errs <- errors.Join(err, b.far.CloseWrite())
	}()
	there := make(chan []byte, 1)
	go func() {
		got, _ := io.ReadAll(b.far)
		there <- got
	}()
	got := make([]byte, len(back))
	_, err := io.ReadFull(out, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(back, got))
	require.NoError(t, b.ended(t))
	require.True(t, bytes.HasPrefix(data, <-there))
	for range 3 {
		require.NoError(t, <-errs)
	}
}

// TestBridgeKeepsHalves: the end of stdin is that of one direction, the answer comes after it; the end of the socket is the end, while stdin
// stays open.
func TestBridgeKeepsHalves(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := startBridge(t, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout = strings.NewReader("question"), &out })
	asked, err := io.ReadAll(b.far)
	require.NoError(t, err)
	require.Equal(t, "question", string(asked))
	_, err = b.far.Write([]byte("answer"))
	require.NoError(t, err)
	require.NoError(t, b.far.Close())
	require.NoError(t, b.ended(t))
	require.Equal(t, "answer", out.String())

	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	defer r.Close()
	b = startBridge(t, func(cmd *exec.Cmd) { cmd.Stdin = r })
	require.NoError(t, b.far.Close())
	require.NoError(t, b.ended(t))

	b = startBridge(t, func(cmd *exec.Cmd) { cmd.Stdin = nil }) // /dev/null
	asked, err = io.ReadAll(b.far)
	require.NoError(t, err)
	require.Empty(t, asked)
	require.NoError(t, b.far.Close())
	require.NoError(t, b.ended(t))
}

// TestBridgeTellsOfAReset: in words; and one whose reader has gone ends, too.
func TestBridgeTellsOfAReset(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	defer r.Close()
	var words bytes.Buffer
	b := startBridge(t, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stderr = r, &words })
	require.NoError(t, b.far.SetLinger(0))
	require.NoError(t, b.far.Close())
	require.Error(t, b.ended(t))
	require.Equal(t, "read: connection reset by peer", words.String())

	gone, out, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	words.Reset()
	b = startBridge(t, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout, cmd.Stderr = r, out, &words })
	require.NoError(t, out.Close())
	_, err = b.far.Write([]byte("x"))
	require.NoError(t, err)
	err = b.ended(t)
	require.Error(t, err) // by SIGPIPE, as any program; its words are about nothing else
	require.NotContains(t, words.String(), "reset")
}

// TestBridgeIsCutByItsContext: while both sides are silent. It says when it has heard the first byte.
func TestBridgeIsCutByItsContext(t *testing.T) {
	t.Parallel()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fds[1])
	r, w, err := os.Pipe()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	heard, ended := make(chan struct{}), make(chan error, 1)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	in, out := dupOf(t, r), dupOf(t, null)
	go func() { ended <- bridge(ctx, fds[0], in, out, func() { close(heard) }) }()
	for range 2 {
		_, err = unix.Write(fds[1], []byte("x"))
		require.NoError(t, err)
	}
	<-heard
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, w.Close()) // the reader of in ends
	r.Close()
}

// dupOf is a blocking descriptor of a file, which ends with the test.
func dupOf(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}
