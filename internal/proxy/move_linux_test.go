package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// helpers are what this binary plays for the tests below.
var helpers = map[string]func() error{"bulk": bulk, "idle": idle}

// helper runs one, and gives what it says.
func helper(t *testing.T, role string, before ...string) string {
	t.Helper()
	args := append(before, "/proc/self/exe")
	if len(before) > 0 {
		self, err := os.Executable()
		require.NoError(t, err)
		args[len(args)-1] = self
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), helperVar+"="+role, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// TestKernelMovesTheBytes: to TCP, they are never in this process.
func TestKernelMovesTheBytes(t *testing.T) {
	t.Parallel()
	if exec.Command("strace", "-qq", "-o", os.DevNull, "true").Run() != nil {
		t.Skip("needs strace, and to be allowed to trace")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	helper(t, "bulk", "strace", "-f", "-qq", "-e", "trace=splice", "-e", "signal=none", "-o", trace)
	calls, err := os.ReadFile(trace)
	require.NoError(t, err)
	var moved int
	for line := range strings.Lines(string(calls)) {
		var n int
		if _, result, ok := strings.Cut(line, ") = "); !ok || !strings.Contains(line, "splice") {
			continue
		} else if _, err := fmt.Sscan(result, &n); err == nil && n > 0 {
			moved += n
		}
	}
	require.Equal(t, 2*2*bulkSize, moved, "each byte into a pipe and out of it, tcp to tcp and unix to tcp")
}

// TestIdleConnectionHoldsNoPipe: a user has pipe buffers for 32 of those that io.Copy would hold.
func TestIdleConnectionHoldsNoPipe(t *testing.T) {
	t.Parallel()
	require.Equal(t, "few", helper(t, "idle"))
}

const bulkSize = 4 << 20

func bulk() error {
	dir, err := os.MkdirTemp("", "hob-p-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, front := range []string{"tcp 127.0.0.1:0", "unix " + filepath.Join(dir, "s")} {
		network, address, _ := strings.Cut(front, " ")
		if err := through(network, address, func(client, service net.Conn) error {
			said := bytes.Repeat([]byte("0123456789abcdef"), bulkSize/16)
			go func() { _, _ = client.Write(said) }()
			heard := make([]byte, bulkSize)
			if _, err := io.ReadFull(service, heard); err != nil {
				return err
			}
			if !bytes.Equal(said, heard) {
				return fmt.Errorf("other bytes arrived")
			}
			return nil
		}, 1, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func idle() error {
	return through("tcp", "127.0.0.1:0", func(client, service net.Conn) error {
		b := make([]byte, 1)
		for _, way := range [][2]net.Conn{{client, service}, {service, client}} {
			if _, err := way[0].Write(b); err != nil {
				return err
			}
			if _, err := way[1].Read(b); err != nil {
				return err
			}
		}
		return nil
	}, 100, func() error {
		// Pipes that were in use a moment ago are kept for the next one, until they are collected.
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			runtime.GC()
			pipes, err := countPipes()
			if err != nil || pipes <= 20 {
				fmt.Print("few")
				return err
			}
			if time.Now().After(end) {
				return fmt.Errorf("%d ends of pipes", pipes)
			}
		}
	})
}

// through makes n connections through a proxy, one after the other, and leaves them open until then has returned.
func through(network, address string, use func(client, service net.Conn) error, n int, then func() error) error {
	front, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	defer front.Close()
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer back.Close()
	p := New(func(context.Context) (net.Conn, error) { return net.Dial("tcp", back.Addr().String()) }, nil)
	defer p.Close()
	for range n {
		client, err := net.Dial(network, front.Addr().String())
		if err != nil {
			return err
		}
		defer client.Close()
		accepted, err := front.Accept()
		if err != nil {
			return err
		}
		p.Serve(accepted, nil)
		service, err := back.Accept()
		if err != nil {
			return err
		}
		defer service.Close()
		if err := use(client, service); err != nil {
			return err
		}
	}
	return then()
}

func countPipes() (n int, err error) {
	fds, err := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n, err
}

// TestGoneUnixClientIsKnownFromAHalfClose: an idle service that heeds no end would keep it for ever.
func TestGoneUnixClientIsKnownFromAHalfClose(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		h := newHouse(t, "unix", network, nil)
		client, service := h.connect()
		require.NoError(t, client.CloseWrite())
		require.Empty(t, rest(t, service))
		say(t, service, "still there?")
		hear(t, client, "still there?")
		require.Equal(t, 1, h.proxy.Open())
		require.NoError(t, client.Close())
		h.empty()
	}
}
