//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
)

// exchange is a message of a recorded session, and its answer. What they were recorded from spoke protocol 1 and knew of no upgrades: v0.9.0.
type exchange struct{ request, answer string }

// session reads what was recorded, with the places of this world in it.
func (w *world) session(name string, pid int) []exchange {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "protocol-1", name+".txt"))
	require.NoError(w.t, err)
	inst := w.inst()
	text := strings.NewReplacer("{ROOT}", inst.Root.Path, "{DIR}", inst.Dir(), "{ID}", inst.ID, "{PID}", fmt.Sprint(pid),
		"{DEV}", fmt.Sprint(inst.Root.Dev), "{INO}", fmt.Sprint(inst.Root.Ino)).Replace(string(data))
	var all []exchange
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "> "):
			all = append(all, exchange{request: line[2:]})
		case strings.HasPrefix(line, "< "):
			all[len(all)-1].answer = line[2:]
		}
	}
	return all
}

// requireShape fails unless got has all that want has, of the same types: a client that reads want can read got.
func requireShape(t *testing.T, where string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		require.True(t, ok, "%s: %v", where, got)
		for k, v := range want {
			require.Contains(t, object, k, where)
			requireShape(t, where+"."+k, v, object[k])
		}
	case []any:
		list, ok := got.([]any)
		require.True(t, ok, "%s: %v", where, got)
		if len(want) > 0 {
			require.NotEmpty(t, list, where)
			requireShape(t, where+"[0]", want[0], list[0])
		}
	case nil: // whatever it may be
	default:
		require.IsType(t, want, got, where)
	}
}

// TestOldClientsAreServed: byte for byte what a client of protocol 1 has sent is answered by this daemon with all that it was answered then.
func TestOldClientsAreServed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"run", "ps", "stop"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ok("daemon", "start")
			if name != "run" {
				w.ok("run", "web", "--", "sleep", "1000")
			}
			c := w.connect()
			answers := bufio.NewReader(c)
			for _, e := range w.session(name, w.pid()) {
				_, err := io.WriteString(c, e.request)
				require.NoError(t, err)
				line, err := answers.ReadString('\n')
				require.NoError(t, err)
				var want, got any
				require.NoError(t, json.Unmarshal([]byte(e.answer), &want))
				require.NoError(t, json.Unmarshal([]byte(line), &got))
				requireShape(t, name, want, got)
				if welcome, ok := got.(map[string]any)["result"].(map[string]any)["welcome"].(map[string]any); ok {
					require.EqualValues(t, 1, welcome["protocol"])
				}
			}
		})
	}
}

// oldDaemon plays one of protocol 1: it has the lock and the socket and says what was recorded. It leaves when it is asked to retire.
func (w *world) oldDaemon(name string) (asked chan string) {
	w.t.Helper()
	inst := w.inst()
	require.NoError(w.t, os.MkdirAll(inst.Dir(), 0o700))
	lock, err := os.OpenFile(inst.LockPath(), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(w.t, err)
	require.NoError(w.t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	l, err := net.Listen("unix", inst.Path(instance.SocketName))
	require.NoError(w.t, err)
	require.NoError(w.t, os.Chmod(inst.Path(instance.SocketName), 0o600))
	// A child between its fork and its exec would have the lock a little longer.
	unlock := func() { _ = unforked(lock.Close) }
	w.t.Cleanup(func() { l.Close(); unlock() })
	answers := map[string]string{}
	for _, e := range w.session(name, os.Getpid()) {
		answers[methodOf(w.t, e.request)] = e.answer
	}
	asked = make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				requests := bufio.NewReader(c)
				for {
					line, err := requests.ReadString('\n')
					if err != nil {
						return
					}
					method := methodOf(w.t, line)
					asked <- method
					_, _ = io.WriteString(c, withID(line, answers[method]))
					if method == "hob.retire" {
						_ = os.Remove(inst.Path(instance.SocketName))
						l.Close()
						unlock()
						return
					}
				}
			}()
		}
	}()
	return asked
}

func methodOf(t *testing.T, line string) string {
	var m struct{ Method string }
	require.NoError(t, json.Unmarshal([]byte(line), &m), line)
	return m.Method
}

// withID gives the answer the id of the request.
func withID(request, answer string) string {
	var r struct{ ID json.RawMessage }
	var a map[string]json.RawMessage
	if json.Unmarshal([]byte(request), &r) != nil || json.Unmarshal([]byte(answer), &a) != nil {
		return "{}\n"
	}
	a["id"] = r.ID
	data, _ := json.Marshal(a)
	return string(data) + "\n"
}

// TestOldDaemonsAreUsedAndReplaced: this client understands what a daemon of protocol 1 said, and where it needs one that is as new as itself, it has the old
// one retire, which that knows.
func TestOldDaemonsAreUsedAndReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t).as(1)
	asked := w.oldDaemon("ps")
	r := w.ok("ps", "--json")
	require.Contains(t, r.stdout, `"name":"web"`)
	require.Contains(t, r.stdout, `"version":"v0.9.0"`)
	require.Equal(t, "hob.hello", <-asked)

	w = newWorld(t).as(1)
	asked = w.oldDaemon("retire")
	w.ok("run", "web", "--", "sleep", "1000")
	for _, method := range []string{"hob.hello", "hob.upgrade", "hob.retire"} {
		require.Equal(t, method, <-asked)
	}
	require.Equal(t, "v1.0.0", w.version())

	w = newWorld(t).as(1)
	asked = w.oldDaemon("retire")
	w.ok("daemon", "upgrade")
	require.Equal(t, "hob.hello", <-asked)
	require.Equal(t, "v1.0.0", w.version())
}
