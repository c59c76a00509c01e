//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob"
)

func init() {
	// embedded is somebody's own tool, whose daemon counts calls: serve DIR, and ask DIR, which prints the count and the daemon's version. Its
	// own version is EMBEDDED_BUILD; with EMBEDDED_KEEPS the daemon passes its count on.
	helpers["embedded"] = func(args []string) int {
		dir := args[1]
		inst := hob.Instance{Name: "counter", Dir: dir, Command: []string{os.Getenv("EMBEDDED_PROGRAM"), "serve", dir}}
		err := errors.ErrUnsupported
		switch args[0] {
		case "serve":
			err = serveCount(inst)
		case "ask", "hold":
			err = askCount(inst, args[0] == "hold")
		}
		if err != nil {
			fmt.Println("error:", err)
			return 1
		}
		return 0
	}
}

func serveCount(inst hob.Instance) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var count atomic.Int64
	o := &hob.ServeOptions{Build: os.Getenv("EMBEDDED_BUILD"), Load: func(_ context.Context, files map[string]*os.File) error {
		f := files["count"]
		if f == nil {
			return nil
		}
		defer f.Close()
		var n int64
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := fmt.Fscan(f, &n)
		count.Store(n)
		return err
	}}
	if os.Getenv("EMBEDDED_KEEPS") != "" {
		o.Handover = func(context.Context, string) (map[string]*os.File, error) {
			f, err := os.CreateTemp("", "count-")
			if err != nil {
				return nil, err
			}
			_ = os.Remove(f.Name())
			_, err = fmt.Fprintln(f, count.Load())
			return map[string]*os.File{"count": f}, err
		}
	}
	return hob.Serve(ctx, inst, func(context.Context, *hob.Request) (any, error) { return count.Add(1), nil }, o)
}

func askCount(inst hob.Instance, hold bool) error {
	c, err := hob.Dial(context.Background(), inst, &hob.DialOptions{Client: "counter", Build: os.Getenv("EMBEDDED_BUILD")})
	if err != nil {
		return err
	}
	defer c.Close()
	lines := bufio.NewReader(os.Stdin)
	for {
		var n int
		if err := c.Call(context.Background(), "count", nil, &n); err != nil {
			return err
		}
		s := c.Welcome()
		fmt.Println(n, s.Version, s.Pid)
		if !hold {
			return nil
		}
		if _, err := lines.ReadString('\n'); err != nil { // once more for each line
			return nil
		}
	}
}

// counter is the tool of a version, as a program of its own.
func (w *world) counter(version string, keeps bool) string {
	self, err := os.Executable()
	require.NoError(w.t, err)
	path := filepath.Join(w.home, fmt.Sprintf("counter-%s-%v", version, keeps))
	more := ""
	if keeps {
		more = "export EMBEDDED_KEEPS=1\n"
	}
	text := fmt.Sprintf("#!/bin/sh\nexport HOB_E2E_HELPER=embedded EMBEDDED_BUILD=%s EMBEDDED_PROGRAM=%s\n%sexec %s \"$@\"\n", version, path, more, self)
	require.NoError(w.t, writeProgram(path, []byte(text)))
	return path
}

// ask gives what the tool prints: the count, the daemon's version and its pid.
func (w *world) ask(program string) (n int, version string, pid int, out string) {
	cmd := w.command()
	cmd.Path, cmd.Args = program, []string{program, "ask", w.project}
	r := w.run(cmd)
	_, _ = fmt.Sscan(r.stdout, &n, &version, &pid)
	return n, version, pid, r.stdout + r.stderr
}

// TestAnEmbeddedDaemonIsReplaced by a newer one: when nobody has a session, since it can't take anything along; else the error names who has.
func TestAnEmbeddedDaemonIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v1, v2 := w.counter("v1.0.0", false), w.counter("v2.0.0", false)
	n, version, pid, out := w.ask(v1)
	require.Equal(t, 1, n, out)
	require.Equal(t, "v1.0.0", version)
	holder := w.command()
	holder.Path, holder.Args = v1, []string{v1, "hold", w.project}
	in, err := holder.StdinPipe()
	require.NoError(t, err)
	var said lockedBuffer
	holder.Stdout = &said
	require.NoError(t, holder.Start())
	w.eventually("it has a session", func() bool { return said.String() != "" })
	w.eventually("only the one who has a session is named", func() bool { // the one before was still leaving, perhaps
		_, _, _, out = w.ask(v2)
		return strings.Contains(out, fmt.Sprintf("upgrade the daemon from v1.0.0 to v2.0.0: in use by counter (pid %d)", holder.Process.Pid))
	})
	require.NoError(t, in.Close())
	require.NoError(t, holder.Wait())
	var second int
	w.eventually("it is free", func() bool {
		n, version, second, out = w.ask(v2)
		return n != 0
	})
	require.Equal(t, 1, n, out)
	require.Equal(t, "v2.0.0", version)
	require.NotEqual(t, pid, second)
	n, version, third, out := w.ask(v1) // never down
	require.Equal(t, 2, n, out)
	require.Equal(t, "v2.0.0", version)
	require.Equal(t, second, third)
}

// TestAnEmbeddedDaemonKeepsWhatItPassesOn: in place, with the session of an older client.
func TestAnEmbeddedDaemonKeepsWhatItPassesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v1, v2 := w.counter("v1.0.0", true), w.counter("v2.0.0", true)
	holder := w.command()
	holder.Path, holder.Args = v1, []string{v1, "hold", w.project}
	in, err := holder.StdinPipe()
	require.NoError(t, err)
	var said lockedBuffer
	holder.Stdout = &said
	require.NoError(t, holder.Start())
	w.eventually("it has a session", func() bool { return said.String() != "" })
	var one, pid int
	var version string
	_, err = fmt.Sscan(said.String(), &one, &version, &pid)
	require.NoError(t, err)
	require.Equal(t, 1, one)
	n, version, second, out := w.ask(v2)
	require.Equal(t, 2, n, out)
	require.Equal(t, "v2.0.0", version)
	require.Equal(t, pid, second)
	_, err = io.WriteString(in, "\n")
	require.NoError(t, err)
	w.eventually("it is answered by the next one", func() bool {
		return said.String() == "1 v1.0.0 "+strconv.Itoa(pid)+"\n3 v1.0.0 "+strconv.Itoa(pid)+"\n"
	})
	require.NoError(t, in.Close())
	require.NoError(t, holder.Wait())
}

// TestSelftestByHand says what the program is, and touches nothing.
func TestSelftestByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(2)
	cmd := w.hobd("--selftest")
	r := w.run(cmd)
	require.Zero(t, r.code, r.stderr)
	var report struct {
		Format   int
		Protocol [2]int
		Build    string
		ID       string
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &report), r.stdout)
	require.Equal(t, "v2.0.0", report.Build)
	require.Equal(t, w.inst().ID, report.ID)
	require.NoDirExists(t, w.stateDir())
}

// lockedBuffer is what a process writes, to be read meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
