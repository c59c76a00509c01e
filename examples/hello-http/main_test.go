package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is far above what anything here takes.
const patience = 60 * time.Second

// TestOneWebServerForManyClients runs the program as it is: ten at once in a directory, and one in another.
func TestOneWebServerForManyClients(t *testing.T) {
	program, state := filepath.Join(t.TempDir(), "hello-http"), filepath.Join(t.TempDir(), "state")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	run := func(dir string, args ...string) (string, error) {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOB_STATE_DIR="+state)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			return "", err
		}
		hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer hung.Stop()
		err := cmd.Wait()
		return out.String(), err
	}
	project := func() string {
		dir := t.TempDir()
		t.Cleanup(func() {
			out, err := run(dir, "stop")
			require.NoError(t, err, out)
		})
		return dir
	}

	dir := project()
	const clients = 10
	type answer struct {
		out string
		err error
	}
	answers := make(chan answer, clients)
	for range clients {
		go func() {
			out, err := run(dir, "/hello")
			answers <- answer{out, err}
		}()
	}
	all := make([]answer, clients) // no client is left behind when one has failed
	for i := range all {
		all[i] = <-answers
	}
	counts, pids := map[int]bool{}, map[int]bool{}
	for _, a := range all {
		require.NoError(t, a.err, a.out)
		var count, pid int
		_, err := fmt.Sscanf(a.out, "/hello: request %d of pid %d\n", &count, &pid)
		require.NoError(t, err, a.out)
		counts[count], pids[pid] = true, true
	}
	require.Len(t, counts, clients, "no request was counted twice")
	require.Len(t, pids, 1, "one server")

	out2, err := run(project(), "/other")
	require.NoError(t, err, out2)
	require.Contains(t, out2, "/other: request 1 of pid ", "another directory has another server")

	out2, err = run(t.TempDir())
	require.Error(t, err)
	require.Equal(t, "hello-http: usage: hello-http PATH | hello-http stop\n", out2)
}
