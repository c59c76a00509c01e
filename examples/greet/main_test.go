package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is far above what anything here takes.
const patience = 60 * time.Second

// user is somebody with a state directory of their own, and the program.
type user struct {
	t            *testing.T
	greet, state string
}

func newUser(t *testing.T) *user {
	u := &user{t: t, greet: filepath.Join(t.TempDir(), "greet"), state: filepath.Join(t.TempDir(), "state")}
	build := exec.Command("go", "build", "-o", u.greet, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return u
}

// project makes a directory whose server, should a test leave one, is ended with the test.
func (u *user) project() string {
	dir := u.t.TempDir()
	u.t.Cleanup(func() {
		out, err := u.run(dir, "stop")
		require.NoError(u.t, err, out)
	})
	return dir
}

// run calls greet in dir, and kills it when it hangs.
func (u *user) run(dir string, args ...string) (string, error) {
	cmd := exec.Command(u.greet, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOB_STATE_DIR="+u.state)
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

// hello greets and takes the answer apart.
func (u *user) hello(dir, name string) (count, pid int, err error) {
	out, err := u.run(dir, name)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, out)
	}
	_, err = fmt.Sscanf(out, "hello, "+name+": greeting %d of pid %d\n", &count, &pid)
	return count, pid, err
}

// TestOneServerForManyClients: however many clients begin at once, one server counts them all.
func TestOneServerForManyClients(t *testing.T) {
	u := newUser(t)
	dir := u.project()
	const clients = 10
	type answer struct {
		count, pid int
		err        error
	}
	answers := make(chan answer, clients)
	for i := range clients {
		go func() {
			var a answer
			a.count, a.pid, a.err = u.hello(dir, "client"+strconv.Itoa(i))
			answers <- a
		}()
	}
	all := make([]answer, clients) // no client is left behind when one has failed
	for i := range all {
		all[i] = <-answers
	}
	counts, pids := map[int]bool{}, map[int]bool{}
	for _, a := range all {
		require.NoError(t, a.err)
		counts[a.count], pids[a.pid] = true, true
	}
	require.Len(t, counts, clients, "no greeting was counted twice")
	require.Len(t, pids, 1, "one server")

	_, pid, err := u.hello(u.project(), "neighbour")
	require.NoError(t, err)
	require.NotContains(t, pids, pid, "another directory has another server")
}

func TestStopEndsTheServer(t *testing.T) {
	u := newUser(t)
	dir := u.project()
	out, err := u.run(dir, "stop")
	require.NoError(t, err, out)
	require.NoDirExists(t, u.state, "nothing to stop, nothing created")

	_, first, err := u.hello(dir, "you")
	require.NoError(t, err)
	out, err = u.run(dir, "stop")
	require.NoError(t, err, out)
	sockets, err := filepath.Glob(filepath.Join(u.state, "*", "hob.sock"))
	require.NoError(t, err)
	require.Empty(t, sockets)

	count, pid, err := u.hello(dir, "you")
	require.NoError(t, err)
	require.Equal(t, 1, count)
	require.NotEqual(t, first, pid)
}

func TestTERMEndsTheServerInGoodOrder(t *testing.T) {
	u := newUser(t)
	dir := u.project()
	_, pid, err := u.hello(dir, "you")
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(filepath.Join(u.state, "*", "hob.pid"))
		return len(files) == 0
	}, patience, 5*time.Millisecond, "the pid file is removed")
	count, _, err := u.hello(dir, "you")
	require.NoError(t, err)
	require.Equal(t, 1, count)
}

func TestWrongUseIsSaid(t *testing.T) {
	u := newUser(t)
	out, err := u.run(t.TempDir())
	require.Error(t, err)
	require.Equal(t, "greet: usage: greet NAME | greet stop\n", out)
	out, err = u.run(t.TempDir(), "serve", t.TempDir())
	require.Error(t, err)
	require.Contains(t, out, "no client started this process")
}
