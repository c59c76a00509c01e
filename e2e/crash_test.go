//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func init() {
	// chatter notes its start in a file, then writes lines of 100 bytes as fast as it can, with a pause after
	// every 300 if it is given one, until SIGTERM: then it writes how many they were.
	helpers["chatter"] = func(args []string) int {
		if !recordStart(args[0]) {
			return 1
		}
		pause, err := time.ParseDuration(args[1])
		if err != nil {
			return 1
		}
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		line := make([]byte, 0, 100)
		for n := 0; ; n++ {
			select {
			case <-stop:
				fmt.Printf("end %d\n", n)
				return 0
			default:
			}
			line = chatterLine(line[:0], n)
			if _, err := os.Stdout.Write(line); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			if pause > 0 && n%300 == 299 {
				time.Sleep(pause)
			}
		}
	}

	// crasher notes its start in a file, says so, notes that in another one, and ends with a failure after a random while.
	helpers["crasher"] = func(args []string) int {
		if !recordStart(args[0]) {
			return 1
		}
		fmt.Println("crasher", os.Getenv("HOB_ID"))
		if !recordStart(args[0] + "-said") {
			return 1
		}
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		return 1
	}
}

// recordStart appends this run's mark to a file.
func recordStart(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return false
	}
	_, err = fmt.Fprintln(f, os.Getenv("HOB_ID"))
	return err == nil && f.Close() == nil
}

func chatterLine(buf []byte, n int) []byte {
	buf = append(buf, "line "...)
	buf = strconv.AppendInt(buf, int64(n), 10)
	for len(buf) < 99 {
		buf = append(buf, '.')
	}
	return append(buf, '\n')
}

// requireWhole reads the whole log of a chatter and fails at the first byte that is not what it wrote.
func (w *world) requireWhole(name string) (lines int) {
	w.t.Helper()
	var files []io.Reader
	for _, path := range w.segmentFiles(name) {
		f, err := os.Open(path)
		require.NoError(w.t, err)
		defer f.Close()
		files = append(files, f)
	}
	r := bufio.NewReaderSize(io.MultiReader(files...), 1<<20)
	want := make([]byte, 0, 100)
	for ; ; lines++ {
		line, err := r.ReadSlice('\n')
		require.NoError(w.t, err, "%s: the log ends after %d lines", name, lines)
		if want = chatterLine(want[:0], lines); bytes.Equal(line, want) {
			continue
		}
		require.Equal(w.t, fmt.Sprintf("end %d\n", lines), string(line), "%s: after %d lines", name, lines)
		rest, err := io.ReadAll(r)
		require.NoError(w.t, err)
		require.Empty(w.t, string(rest), name)
		return lines
	}
}

// segmentFiles are the files of a service's log, in order.
func (w *world) segmentFiles(name string) []string {
	files, err := filepath.Glob(w.inst().Path("log", name, "*.log"))
	require.NoError(w.t, err)
	slices.Sort(files)
	return files
}

// starts are the marks of the runs that a service has recorded.
func (w *world) recorded(file string) []string { return strings.Fields(w.read(file)) }

// crashes reads HOB_CRASHES.
func crashes(t *testing.T, few int) (rounds int, pause string) {
	t.Helper()
	rounds, pause = few, "0s"
	if v := os.Getenv("HOB_CRASHES"); v != "" {
		_, err := fmt.Sscan(v, &rounds, &pause)
		require.NoError(t, err, "HOB_CRASHES=%s: not a number and a duration", v)
	}
	return rounds, pause
}

// TestCrashes kills hobd again and again, at random moments, sometimes with its sentry, sometimes with a service,
// under services that write as fast as they can and one that crashes. HOB_CRASHES is how often, and how long the
// services pause after every 300 lines, which bounds what is written to the disk; make crash says "300 5ms".
func TestCrashes(t *testing.T) {
	rounds, pause := crashes(t, 20)
	w := newWorld(t)
	text := ""
	for i := range 5 {
		limits := "max = '10GB'"
		if i%2 == 1 { // these begin another segment all the time
			limits = "max = '1MB', keep = 1000000"
		}
		text += fmt.Sprintf("[services.chatter%d]\nrun = %s\nlog = { %s }\n", i, helperRun("chatter", fmt.Sprintf("starts%d", i), pause), limits)
	}
	w.toml(text + "[services.crasher]\nrun = " + helperRun("crasher", "starts") + "\nrestart = 'always'\n")
	w.ok("up", "--no-wait")
	w.eventually("all write", func() bool {
		for i := range 5 {
			if len(w.segmentFiles(fmt.Sprintf("chatter%d", i))) == 0 {
				return false
			}
		}
		return true
	})
	before := w.list()
	var unguarded []string // runs of the crasher in whose time nobody had their output but themselves
	for i := range rounds {
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // any moment will do
		had := len(w.recorded("starts"))
		if w.strike(i) {
			unguarded = append(unguarded, w.recorded("starts")[max(0, had-1):]...)
		}
	}
	after := w.list()
	for i := range 5 {
		name := fmt.Sprintf("chatter%d", i)
		require.Equal(t, before[name].Pid, after[name].Pid, name)
		require.Equal(t, 1, after[name].Generation, name)
		require.Equal(t, before[name].StartedAt, after[name].StartedAt, name)
		require.Zero(t, after[name].LogLost, name)
	}
	w.ok("stop", "chatter0", "chatter1", "chatter2", "chatter3", "chatter4", "crasher")
	total := 0
	for i := range 5 {
		total += w.requireWhole(fmt.Sprintf("chatter%d", i))
		require.Len(t, w.recorded(fmt.Sprintf("starts%d", i)), 1)
	}
	// No run of the crasher was started twice, and what it said is in its log once. Where hobd and its sentry were
	// killed together, a run that ended before the next hobd came has taken its last words along.
	marks := w.recorded("starts")
	require.Equal(t, len(marks), len(slices.Compact(slices.Sorted(slices.Values(marks)))), "a run was started twice: %v", marks)
	require.LessOrEqual(t, len(marks), w.list()["crasher"].Generation)
	said := strings.Split(strings.TrimSpace(strings.ReplaceAll(w.ok("logs", "-n100000", "crasher").stdout, "crasher ", "")), "\n")
	done := w.recorded("starts-said") // by who was not killed before he could say it
	heard := slices.DeleteFunc(slices.Clone(marks), func(m string) bool {
		return (slices.Contains(unguarded, m) || !slices.Contains(done, m)) && !slices.Contains(said, m)
	})
	require.Equal(t, heard, said, "what the crasher said\nlog: %s", w.daemonLog())
	t.Logf("%d kills, %d lines of 100 bytes, %d starts of the crasher", rounds, total, len(marks))
}

// strike kills something and waits until a daemon serves again. both: nobody was left to look after anything.
func (w *world) strike(i int) (both bool) {
	w.t.Helper()
	was := w.pid()
	require.Greater(w.t, was, 1, "hobd is not there")
	switch both = i%10 == 9; {
	case both:
		w.killSilently()
		w.ok("daemon", "start", unhurried)
	case i%10 == 7: // hobd and a service in the same instant
		if s := w.list()["crasher"]; s.Pid != 0 {
			_ = syscall.Kill(was, syscall.SIGSTOP)
			_ = syscall.Kill(s.Pid, syscall.SIGKILL)
		}
		w.kill(was, syscall.SIGKILL)
	default:
		w.kill(was, syscall.SIGKILL)
	}
	w.eventually("the next daemon serves", func() bool {
		return w.pid() != was && w.hob("daemon", "ping", next).code == 0
	})
	if i%5 == 4 && w.doc(0, "ps", "crasher", unhurried).Service.State == "failed" {
		w.hob("start", "crasher", unhurried)
	}
	return both
}

// TestHundredServices go up and down together.
func TestHundredServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := "[services]\n"
	for i := range 100 {
		text += fmt.Sprintf("s%d.run = ['sleep', '1000']\n", i)
	}
	w.toml(text)
	require.Len(t, w.doc(0, "up").Services, 100)
	before := w.list()
	for name, s := range before {
		require.Equal(t, "running", s.State, name)
		require.Equal(t, 1, s.Generation, name)
	}
	down := w.doc(0, "down")
	require.Len(t, down.Services, 100)
	for _, s := range down.Services {
		require.Equal(t, "stopped", s.State, s.Name)
		w.requireNoProcess(before[s.Name].Pid)
	}
}
