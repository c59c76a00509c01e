//go:build linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

// soaked are the services of TestSoak.
var soaked = []string{"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"}

// soak makes a world with them, in which everything has been done once.
func soak(t *testing.T) *world {
	w := newWorld(t)
	w.bin = filepath.Join(bin, "plain") // the race detector takes memory by itself
	text := "[services]\n"
	for _, name := range soaked {
		text += name + " = { run = ['sh', '-c', 'echo up; sleep 1000 & exec sleep 1000'], ready = { log = '^up$' } }\n"
	}
	w.toml(text)
	w.ok("up")
	w.ok(append([]string{"restart"}, soaked...)...)
	w.onGuard(len(soaked)) // it has a sentry and what belongs to that
	return w
}

// soakIn makes so many connections, which all are welcomed, while every service is restarted again and again.
func (w *world) soakIn(connections, rounds int) {
	w.t.Helper()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(connections))
	failed := make(chan error, 16+len(soaked))
	for range 16 {
		wg.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				c, err := w.contact(true)
				if err == nil {
					if n%100 == 0 { // it looks at all processes for that
						_, err = api.ServiceList.Call(context.Background(), c, api.NamesParams{})
					}
					_ = c.Close()
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for _, name := range soaked {
		c := w.connect()
		require.NoError(w.t, c.SetDeadline(time.Now().Add(60*patience)))
		wg.Go(func() {
			if err := restarts(c, name, rounds); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		require.NoError(w.t, err, w.daemonLog())
	default:
	}
}

// quiet is how many descriptors the daemon has when nobody calls. A look may come while it makes its watch of files anew, and finds one fewer.
func (w *world) quiet() int {
	w.t.Helper()
	return len(w.settledDescriptors(w.pid()))
}

// memory is the resident memory of the daemon in KiB.
func (w *world) memory() int {
	w.t.Helper()
	n, err := strconv.Atoi(strings.TrimSuffix(statusField(w.t, w.pid(), "VmRSS"), " kB"))
	require.NoError(w.t, err)
	return n
}

// TestSoak: after very many connections and restarts there is not one descriptor, goroutine, zombie or file more than before, nor 2 MiB of memory.
// HOB_SOAK=full is a million of the first, and a thousand of the second.
func TestSoak(t *testing.T) {
	t.Parallel()
	connections, rounds := 5_000, 10
	if os.Getenv("HOB_SOAK") == "full" {
		connections, rounds = 1_000_000, 130
	}
	w := soak(t)
	w.soakIn(10_000, 10) // the Go runtime has its memory, and its threads
	pid, had, memory, files := w.pid(), w.quiet(), w.memory(), w.fileCount()
	for range 10 {
		w.soakIn(connections/10, rounds/10)
		t.Logf("%d descriptors, %d KiB", len(descriptors(t, pid)), w.memory())
	}
	require.Equal(t, pid, w.pid())
	for _, s := range w.list() {
		require.Equal(t, 2+10+rounds/10*10, s.Generation, s.Name)
		require.Equal(t, "ready", s.State, s.Name)
	}
	w.eventually("it has no more descriptors than before", func() bool { return len(descriptors(t, pid)) <= had })
	w.eventually("it has no zombies", func() bool { return len(zombiesOf(pid)) == 0 })
	w.eventually("it has no more memory than before", func() bool { return w.memory() <= memory+2<<10 })
	require.LessOrEqual(t, w.fileCount(), files)
	other := soak(t)
	other.quiet() // what its start takes is over
	fresh, after, grown := other.goroutines(), w.quiet(), w.memory()
	goroutines := w.goroutines()
	t.Logf("%d descriptors before and %d after, %d KiB and %d KiB, %d goroutines where nothing was and %d", had, after, memory, grown, fresh, goroutines)
	require.LessOrEqual(t, after, had)
	require.LessOrEqual(t, goroutines, fresh, "%s", w.daemonLog())
}

// restarts restarts a service so many times over one connection, without a process of hob for each.
func restarts(c net.Conn, name string, rounds int) error {
	defer c.Close()
	answers := bufio.NewReader(c)
	for i := range rounds {
		if _, err := fmt.Fprintf(c, `{"jsonrpc":"2.0","id":%d,"method":"service.restart","params":{"names":[%q]}}`+"\n", i, name); err != nil {
			return err
		}
		line, err := answers.ReadString('\n')
		if err != nil || !strings.Contains(line, `"result"`) {
			return fmt.Errorf("restart %d of %s: %w: %s", i, name, err, line)
		}
	}
	return nil
}

// zombiesOf are the dead children of a process.
func zombiesOf(pid int) []string {
	var dead []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(pid) {
			dead = append(dead, path)
		}
	}
	return dead
}

// fileCount counts the files of the instance.
func (w *world) fileCount() (n int) {
	_ = filepath.WalkDir(w.inst().Dir(), func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return nil
	})
	return n
}
