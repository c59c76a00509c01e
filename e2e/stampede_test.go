//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/lock"
)

// attempts says how many daemons were ever executed for the world's project.
func (w *world) attempts() int64 {
	w.t.Helper()
	r, ok := w.record()
	require.True(w.t, ok, "no attempt record")
	return r.Attempt
}

func (w *world) record() (lock.Record, bool) {
	state, err := os.Open(w.stateDir())
	if err != nil {
		return lock.Record{}, false
	}
	defer state.Close()
	return lock.ReadRecord(state, w.inst().LockName())
}

// atOnce starts n calls of hob, lets them run side by side, and gives the results in order.
func (w *world) atOnce(n int, call func(i int) *exec.Cmd) []result {
	w.t.Helper()
	return w.startAtOnce(n, call)()
}

// startAtOnce is atOnce without the wait, which the function does that it returns.
func (w *world) startAtOnce(n int, call func(i int) *exec.Cmd) (wait func() []result) {
	w.t.Helper()
	cmds := make([]*exec.Cmd, n)
	outs := make([][2]bytes.Buffer, n)
	var wg sync.WaitGroup
	killAll := func() {
		for _, cmd := range cmds {
			if cmd != nil && cmd.Process != nil {
				_ = cmd.Process.Kill()
			}
		}
	}
	w.t.Cleanup(func() { killAll(); wg.Wait() })
	results := make([]result, n)
	for i := range cmds {
		cmds[i] = call(i)
		cmds[i].Stdout, cmds[i].Stderr = &outs[i][0], &outs[i][1]
		cmds[i].WaitDelay = patience / 2
		require.NoError(w.t, cmds[i].Start())
		wg.Go(func() {
			_ = cmds[i].Wait()
			results[i] = result{stdout: outs[i][0].String(), stderr: outs[i][1].String(), code: cmds[i].ProcessState.ExitCode()}
		})
	}
	return func() []result {
		w.t.Helper()
		timer := time.AfterFunc(2*patience, killAll)
		wg.Wait()
		require.True(w.t, timer.Stop(), "calls of hob hung: %+v\nlog: %s", results, w.daemonLog())
		return results
	}
}

// TestStampede: 200 clients at once against nothing. Exactly one hobd is ever executed, and all
// 200 succeed.
func TestStampede(t *testing.T) {
	const clients = 200
	rounds := max(20, storm(50))
	if testing.Short() {
		rounds = 5
	}
	w := newWorld(t)
	w.bin = filepath.Join(bin, "plain")
	for round := range rounds {
		w.project = filepath.Join(filepath.Dir(w.home), fmt.Sprintf("project-%d", round))
		require.NoError(t, os.Mkdir(w.project, 0o755))
		results := w.atOnce(clients, func(int) *exec.Cmd { return w.command("daemon", "start") })
		for i, r := range results {
			require.Zero(t, r.code, "round %d, client %d: %s%s\nlog: %s", round, i, r.stdout, r.stderr, w.daemonLog())
		}
		require.EqualValues(t, 1, w.attempts(), "daemons executed in round %d", round)
		require.Equal(t, 1, w.starts(), "daemons that served in round %d", round)
		w.ok("daemon", "stop")
	}
}

// TestStopStartLoop: a stop that has returned has released the lock, so the next start never
// meets the daemon before it.
func TestStopStartLoop(t *testing.T) {
	w := newWorld(t)
	n := 60
	if testing.Short() {
		n = 10
	}
	for i := range n {
		w.ok("daemon", "start")
		w.ok("daemon", "stop")
		require.EqualValues(t, i+1, w.attempts())
		require.Zero(t, w.pid(), "the pid file is gone after a stop")
		require.NoFileExists(t, w.inst().Path("hob.sock"))
		require.FileExists(t, w.inst().LockPath())
	}
}
