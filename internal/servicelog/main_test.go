package servicelog

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const (
	helperKey = "SERVICELOG_HELPER" // names the helper that the process is to be
	insideKey = "SERVICELOG_INSIDE" // names the test that has the process for itself
)

// helpers are the programs that the test binary plays when helperKey names them.
var helpers = map[string]func(args []string) error{
	"write":  helpWrite,
	"emit":   helpEmit,
	"number": helpNumber,
}

var used sync.Map // names of helpers that a test started

func TestMain(m *testing.M) {
	if name := os.Getenv(helperKey); name != "" {
		go endWithParent()
		if err := helpers[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(insideKey) != "" {
		go endWithParent()
		os.Exit(m.Run())
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if all := flag.Lookup("test.run").Value.String() == "" && !testing.Short(); code == 0 && all {
		for name := range helpers {
			if _, ok := used.Load(name); !ok {
				fmt.Fprintln(os.Stderr, "helper not used by any test:", name)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// endWithParent ends a child of the tests when they die without ending it: it may hang in
// a write to a FIFO that nobody reads.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

// leash gives a child a stdin that ends when the test does, in whatever way.
func leash(t testing.TB, c *exec.Cmd) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	c.Stdin = r
}

// helper prepares a helper process; it dies with the test at the latest.
func helper(t testing.TB, name string, args ...any) *exec.Cmd {
	used.Store(name, true)
	var words []string
	for _, a := range args {
		words = append(words, fmt.Sprint(a))
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), exe, words...)
	c.Env = append(os.Environ(), helperKey+"="+name)
	c.Stderr = os.Stderr
	leash(t, c)
	return c
}

// helpWrite is a process that holds a Writer until it is killed: directory, FIFO, Max, Keep.
func helpWrite(args []string) error {
	max, _ := strconv.ParseInt(args[2], 10, 64)
	keep, _ := strconv.Atoi(args[3])
	w, err := Open(Options{Dir: args[0], FIFO: args[1], Max: max, Keep: keep})
	if err != nil {
		return err
	}
	defer w.Close()
	fmt.Println("open")
	select {}
}

// helpEmit writes args[0] bytes to stdout in lines of 100, args[1] lines a write.
func helpEmit(args []string) error {
	total, _ := strconv.Atoi(args[0])
	lines, _ := strconv.Atoi(args[1])
	b := bytes.Repeat(append(bytes.Repeat([]byte{'x'}, 99), '\n'), lines)
	for at := 0; total > 0; {
		n, err := unix.Write(1, b[at:min(len(b), at+total)])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		n = max(n, 0)
		total, at = total-n, (at+n)%len(b) // less than asked for, when a signal came
	}
	return nil
}

// helpNumber writes args[0] numbered lines to stdout, one a write.
func helpNumber(args []string) error {
	n, _ := strconv.Atoi(args[0])
	for i := range n {
		if _, err := fmt.Printf("%s\n", numbered(i)); err != nil {
			return err
		}
	}
	return nil
}

func numbered(i int) string { return fmt.Sprintf("line %08d %*d", i, i%80, i) }

// place names a log and a FIFO in a directory of their own.
func place(t testing.TB) Options {
	dir := t.TempDir()
	return Options{Dir: filepath.Join(dir, "log"), FIFO: filepath.Join(dir, "fifo")}
}

func open(t testing.TB, o Options) *Writer {
	w, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { w.Close() })
	return w
}

func output(t testing.TB, w *Writer) *os.File {
	f, err := w.Output()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// say writes to the service's end and waits until it is in the log.
func say(t testing.TB, w *Writer, out io.Writer, text string) {
	_, err := io.WriteString(out, text)
	require.NoError(t, err)
	require.NoError(t, w.Drain(t.Context()))
}

// logOf makes a log out of segments, without an index.
func logOf(t testing.TB, contents ...string) string {
	dir := t.TempDir()
	for i, text := range contents {
		require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(i+1)), []byte(text), 0o600))
	}
	return dir
}

func read(t testing.TB, dir string) *Reader {
	r, err := NewReader(dir)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// texts reads to the end, and marks what is Partial with a trailing "…".
func texts(t testing.TB, r *Reader) []string {
	all := []string{}
	for {
		line, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		all = append(all, shown(line))
	}
	if line, ok := r.Rest(); ok {
		all = append(all, shown(line))
	}
	return all
}

func shown(l Line) string {
	if l.Partial {
		return string(l.Text) + "…"
	}
	return string(l.Text)
}

func content(t testing.TB, dir string, segment int) []byte {
	b, err := os.ReadFile(filepath.Join(dir, segmentName(segment)))
	require.NoError(t, err)
	return b
}

// contents reads all segments, and sees to it that every one has an index that covers it.
func contents(t testing.TB, dir string) (all []string) {
	d, err := openDir(nil, dir)
	require.NoError(t, err)
	defer d.Close()
	logs, indexes, err := entries(d)
	require.NoError(t, err)
	require.Equal(t, logs, indexes)
	for _, n := range logs {
		b := content(t, dir, n)
		all = append(all, string(b))
		ends, _ := records(t, dir, n)
		require.True(t, len(b) == 0 || len(ends) > 0 && ends[len(ends)-1] == int64(len(b)), "segment %d: %d bytes, index %v", n, len(b), ends)
	}
	return all
}
