package client

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// playEcho answers one connection with what it says.
func playEcho([]string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	c, err := l.Accept()
	if err != nil {
		return err
	}
	fd, err := dup(c.(peer))
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	for buf := make([]byte, bridgeBuffer); ; {
		n, err := readSome(fd, buf)
		if err != nil || n == 0 {
			return err
		}
		if err := writeAll(fd, buf[:n]); err != nil {
			return err
		}
	}
}

// ends are where a benchmark writes and reads.
type ends struct{ write, read int }

// joints are the ways to a server: none between, the bridge, and what people would take instead where it is there.
var joints = []struct {
	name string
	cmd  func(b *testing.B, address string) *exec.Cmd
}{
	{"direct", nil},
	{"bridge", func(b *testing.B, address string) *exec.Cmd { return helper(b, "bridge", "tcp", address) }},
	{"socat", func(b *testing.B, address string) *exec.Cmd {
		if _, err := exec.LookPath("socat"); err != nil {
			b.Skip("needs socat")
		}
		return exec.Command("socat", "-", "TCP:"+address+",nodelay")
	}},
}

// eachJoint runs f with an echo, which is a process of its own.
func eachJoint(b *testing.B, f func(b *testing.B, e ends)) {
	for _, joint := range joints {
		b.Run(joint.name, func(b *testing.B) {
			address := startEcho(b)
			if joint.cmd == nil {
				fd, err := connectTo("tcp", address)
				check(b, err)
				b.Cleanup(func() { unix.Close(fd) })
				check(b, unix.SetNonblock(fd, false))
				f(b, ends{fd, fd})
				return
			}
			inR, inW, err := pipe(false, false)
			check(b, err)
			outR, outW, err := pipe(false, false)
			check(b, err)
			cmd := joint.cmd(b, address)
			cmd.Stdin, cmd.Stdout = inR, outW
			start(b, cmd)
			b.Cleanup(func() { inR.Close(); inW.Close(); outR.Close(); outW.Close() })
			f(b, ends{int(inW.Fd()), int(outR.Fd())})
		})
	}
}

func startEcho(b *testing.B) (address string) {
	cmd := helper(b, "echo")
	stdout, err := cmd.StdoutPipe()
	check(b, err)
	start(b, cmd)
	address, err = bufio.NewReader(stdout).ReadString('\n')
	check(b, err)
	return strings.TrimSpace(address)
}

func start(b *testing.B, cmd *exec.Cmd) {
	check(b, cmd.Start())
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

func readFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := readSome(fd, p)
		if err != nil || n == 0 {
			return fmt.Errorf("%d bytes are missing: %w", len(p), err)
		}
		p = p[n:]
	}
	return nil
}

// BenchmarkBridgeRoundTrip is a question of 64 bytes and its answer.
func BenchmarkBridgeRoundTrip(b *testing.B) {
	eachJoint(b, func(b *testing.B, e ends) {
		buf := make([]byte, 64)
		for b.Loop() {
			check(b, writeAll(e.write, buf))
			check(b, readFull(e.read, buf))
		}
	})
}

// BenchmarkBridgeThroughput is a stream to the server and back.
func BenchmarkBridgeThroughput(b *testing.B) {
	const piece = 1 << 20
	eachJoint(b, func(b *testing.B, e ends) {
		b.SetBytes(piece)
		buf := make([]byte, piece)
		check(b, writeAll(e.write, buf[:1])) // the process is there
		check(b, readFull(e.read, buf[:1]))
		b.ResetTimer()
		sent := make(chan error, 1)
		go func() {
			buf := make([]byte, piece)
			for range b.N {
				if err := writeAll(e.write, buf); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		for range b.N {
			check(b, readFull(e.read, buf))
		}
		check(b, <-sent)
	})
}
