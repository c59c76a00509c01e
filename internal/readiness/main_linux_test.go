package readiness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
)

// TestMain plays the services: HOB_READINESS_HELPER is what to do, the arguments what with.
func TestMain(m *testing.M) {
	if how := os.Getenv("HOB_READINESS_HELPER"); how != "" {
		time.AfterFunc(5*time.Minute, func() { os.Exit(99) }) // nothing outlives a broken test for long
		signal.Reset()
		helper(how, os.Args[1:])
		time.Sleep(time.Hour) // until the test ends it
	}
	os.Exit(m.Run())
}

func helper(how string, args []string) {
	switch how {
	case "listen": // on an address, and answer whatever comes with a text
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		for {
			c, err := l.Accept()
			if err != nil {
				os.Exit(1)
			}
			go func() {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = c.Write([]byte(args[1]))
				c.Close()
			}()
		}
	case "child": // let a child do it
		p, err := process.Start(process.Spec{Path: self(), Args: append([]string{"x"}, args...), Env: []string{"HOB_READINESS_HELPER=listen"}})
		if err != nil {
			os.Exit(1)
		}
		_ = p
	}
}

func self() string {
	path, _ := os.Executable()
	return path
}

// start runs a helper until the test ends.
func start(t *testing.T, how string, args ...string) *process.Process {
	p, err := process.Start(process.Spec{Path: self(), Args: append([]string{"helper"}, args...),
		Env: []string{"HOB_READINESS_HELPER=" + how, process.MarkName + "=" + mark(t)}, Mark: mark(t)})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := p.Terminate(context.Background(), process.Stop{Signal: syscall.SIGKILL})
		require.NoError(t, err)
		require.NoError(t, p.Release())
	})
	return p
}

func mark(t *testing.T) string {
	return fmt.Sprintf("readiness-%d/%s/1", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

// target is about the processes of p; none if nil.
func target(p *process.Process) Target {
	return Target{Env: os.Environ(), Dir: "/", Tree: func() ([]int, error) {
		if p == nil {
			return nil, nil
		}
		infos, err := p.Tree(process.Holders{})
		pids := make([]int, len(infos))
		for i, info := range infos {
			pids[i] = info.Pid
		}
		return pids, err
	}}
}

// freeAddr is of the loopback's many addresses one that nobody else uses.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// answering waits until somebody listens.
func answering(t *testing.T, addr string) {
	require.Eventually(t, func() bool { return dialTCP(t.Context(), addr) == nil }, time.Minute, 5*time.Millisecond)
}

// wait is Wait with a bound that only a hang meets.
func wait(t *testing.T, r service.Readiness, tg Target) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return Wait(ctx, r, tg, nil)
}

// logOf makes a log, and gives its directory and what to write to.
func logOf(t *testing.T) (*servicelog.Writer, string, *os.File) {
	dir := t.TempDir()
	w, err := servicelog.Open(servicelog.Options{Dir: dir + "/log", FIFO: dir + "/fifo"})
	require.NoError(t, err)
	out, err := w.Output()
	require.NoError(t, err)
	t.Cleanup(func() {
		out.Close()
		w.Close()
	})
	return w, dir + "/log", out
}
