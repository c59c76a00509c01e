package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob"
)

// The benchmarks in one process: Dial and Call against a daemon of the public package, and a raw
// socket in bare Go as the floor under each.
//
//	go test -bench . ./bench

// Main of the test binary: also the daemon, and the floor's server.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		exit(serve(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "echo" {
		exit(echo(os.Args[2]))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func instance(dir string) hob.Instance {
	return hob.Instance{Name: "bench", Dir: dir, Command: []string{os.Args[0], "serve", dir}}
}

// serve is a daemon that answers with what it was asked.
func serve(dir string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	return hob.Serve(ctx, instance(dir), func(_ context.Context, r *hob.Request) (any, error) {
		return r.Params, nil
	}, nil)
}

// echo is the floor: lines come back as they are. It ends with its stdin.
func echo(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	_, _ = os.Stdin.Read(make([]byte, 1))
	return l.Close()
}

// daemon starts one for the benchmark and ends it with it.
func daemon(b *testing.B) (hob.Instance, *hob.Client) {
	b.Setenv("HOB_STATE_DIR", filepath.Join(b.TempDir(), "state"))
	inst := instance(b.TempDir())
	c, err := hob.Dial(b.Context(), inst, nil)
	require.NoError(b, err)
	b.Cleanup(func() {
		_ = c.Stop(context.Background(), false)
		c.Close()
	})
	return inst, c
}

// server starts the floor's.
func server(b *testing.B) (path string) {
	dir, err := os.MkdirTemp("", "hob-bench-") // short enough for an address
	require.NoError(b, err)
	path = filepath.Join(dir, "sock")
	cmd := exec.Command(os.Args[0], "echo", path)
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
		os.RemoveAll(dir)
	})
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(b, err)
	return path
}

func BenchmarkDial(b *testing.B) {
	inst, _ := daemon(b)
	o := &hob.DialOptions{NoSpawn: true, NoLease: true}
	for b.Loop() {
		c, err := hob.Dial(b.Context(), inst, o)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkRawDial(b *testing.B) {
	path := server(b)
	line, buf := []byte("\"hello\"\n"), make([]byte, 64)
	for b.Loop() {
		c, err := net.Dial("unix", path)
		if err != nil {
			b.Fatal(err)
		}
		roundTrip(b, c, line, buf)
		c.Close()
	}
}

func BenchmarkCall(b *testing.B) {
	_, c := daemon(b)
	var answer string
	for b.Loop() {
		if err := c.Call(b.Context(), "echo", "hello", &answer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRawCall(b *testing.B) {
	c, err := net.Dial("unix", server(b))
	require.NoError(b, err)
	defer c.Close()
	line, buf := []byte("\"hello\"\n"), make([]byte, 64)
	for b.Loop() {
		roundTrip(b, c, line, buf)
	}
}

func roundTrip(b *testing.B, c net.Conn, line, buf []byte) {
	if _, err := c.Write(line); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Read(buf); err != nil {
		b.Fatal(err)
	}
}
