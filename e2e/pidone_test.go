//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/process"
)

func init() {
	// orphans leaves many processes behind that nobody waits for: each is the child of one that has ended.
	helpers["orphans"] = func(args []string) int {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return 1
		}
		for range n {
			cmd := exec.Command("sh", "-c", "(exit 3) & (sleep 0.0$$) & exit 0")
			if cmd.Start() != nil || cmd.Wait() != nil {
				return 1
			}
		}
		return 0
	}
}

// container is hobd as pid 1 of a pid namespace.
type container struct {
	w     *world
	said  lockedBuffer
	one   int // its pid outside
	enter []string
	ended chan error
	cmd   *exec.Cmd
}

// contain starts a command as pid 1. Where that is not allowed the test is skipped.
func (w *world) contain(command ...string) *container {
	w.t.Helper()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		w.t.Skip("no unshare")
	}
	flags := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	c := &container{w: w, ended: make(chan error, 1), enter: []string{"--pid", "--mount", "--"}}
	if os.Geteuid() != 0 {
		flags = append([]string{"--user", "--map-current-user"}, flags...)
		c.enter = append([]string{"--user", "--preserve-credentials"}, c.enter...)
	}
	if out, err := exec.Command(unshare, append(flags, "true")...).CombinedOutput(); err != nil {
		w.t.Skipf("no pid namespace of our own: %s", out)
	}
	c.cmd = exec.Command(unshare, append(flags, command...)...)
	c.cmd.Dir, c.cmd.Env = w.project, w.environ()
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	require.NoError(w.t, c.cmd.Start())
	go func() { c.ended <- c.cmd.Wait() }()
	w.t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	w.eventually("pid 1 serves", func() bool {
		for _, pid := range openers(w.inst().LockPath()) {
			if info, err := process.Stat(pid); err == nil && info.PPid == c.cmd.Process.Pid {
				c.one = pid
			}
		}
		return w.pid() == 1 && c.one != 0
	})
	return c
}

// inside runs a command in the project as docker exec does. To enter a mount namespace is to be in its root, setns(2).
func (c *container) inside(command ...string) result {
	command = append([]string{"sh", "-c", `cd "$0" && exec "$@"`, c.w.project}, command...)
	cmd := exec.Command("nsenter", append(append([]string{"--target", strconv.Itoa(c.one)}, c.enter...), command...)...)
	cmd.Env = c.w.environ()
	return c.w.run(cmd)
}

// hob runs hob in there, which succeeds.
func (c *container) hob(args ...string) result {
	c.w.t.Helper()
	r := c.inside(append([]string{filepath.Join(c.w.bin, "hob")}, args...)...)
	require.Zero(c.w.t, r.code, r.stdout+r.stderr+c.said.String())
	return r
}

// TestHobdAsPidOne: in a container it reaps what nobody else does, and never what it has to know the end of; TERM and INT end it in good order though
// pid 1 has no default actions, and a service is asked to leave before, also where it has daemonized itself. An upgrade changes nothing of that.
func TestHobdAsPidOne(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.contain(filepath.Join(w.bin, "hobd"), "--foreground", "--project", w.project)
			c.hob("run", "web", "--restart", "no", "--", "sh", "-c",
				`(setsid sh -c 'trap "echo asked > asked; exit" TERM; echo > there; while :; do sleep 0.05; done' &) ; exec sleep 1000`)
			c.hob("daemon", "upgrade") // it is pid 1 still
			self, err := os.Executable()
			require.NoError(t, err)
			r := c.inside("env", "HOB_E2E_HELPER=orphans", self, "250")
			require.Zero(t, r.code, r.stdout+r.stderr)
			w.eventually("none of 500 orphans is a zombie", func() bool { return len(zombiesOf(c.one)) == 0 && len(children(c.one)) <= 3 })
			for code := 1; code <= 20; code++ {
				r = c.inside(filepath.Join(w.bin, "hob"), "run", "--wait", "job", "--replace", "--", "sh", "-c", fmt.Sprintf("(exit 9) & exit %d", code))
				require.Equal(t, code, r.code, r.stderr)
			}
			w.eventually("the service has daemonized itself", func() bool { return isRegular(filepath.Join(w.project, "there")) })
			require.NoError(t, syscall.Kill(c.one, sig))
			require.NoError(t, <-c.ended, c.said.String())
			require.Contains(t, c.said.String(), "msg=stopped")
			require.FileExists(t, filepath.Join(w.project, "asked"), "else it has only gone with pid 1")
		})
	}
}

// TestOtherSignalsToPidOne: QUIT ends it with its goroutines, HUP has it read the file again.
func TestOtherSignalsToPidOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.contain(filepath.Join(w.bin, "hobd"), "--foreground", "--project", w.project)
	w.toml("[services.web]\nrun = 'exec sleep 1000'\n")
	require.NoError(t, syscall.Kill(c.one, syscall.SIGHUP))
	w.eventually("it has read the file", func() bool { return strings.Contains(c.hob("ps").stdout, "web") })
	require.NoError(t, syscall.Kill(c.one, syscall.SIGQUIT))
	require.Error(t, <-c.ended)
	require.Equal(t, 2, c.cmd.ProcessState.ExitCode())
	require.Contains(t, c.said.String(), "goroutine ")
}

// TestEntrypointOfTheDocs: the container of docs/foreground.md brings its services up by itself, and what has helped with that is no zombie.
func TestEntrypointOfTheDocs(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/foreground.md")
	require.NoError(t, err)
	_, line, found := strings.Cut(string(doc), "\nENTRYPOINT ")
	require.True(t, found)
	line, _, _ = strings.Cut(line, "\n")
	var entry []string
	require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
	w := newWorld(t)
	w.toml("[services.web]\nrun = 'exec sleep 1000'\n[services.bad]\nrun = 'exit 3'\nrestart = 'no'\n")
	c := w.contain(entry...)
	w.eventually("the services are up", func() bool { return w.listOf(c.hob("ps", "--json").stdout)["web"].State == "running" })
	w.eventually("nobody else is left", func() bool { return len(zombiesOf(c.one)) == 0 && len(children(c.one)) == 2 })
	require.NoError(t, syscall.Kill(c.one, syscall.SIGTERM))
	require.NoError(t, <-c.ended, c.said.String())
}

// listOf gives the services of a document by name.
func (w *world) listOf(text string) map[string]api.Service {
	w.t.Helper()
	var d api.Document
	require.NoError(w.t, json.Unmarshal([]byte(text), &d), text)
	all := map[string]api.Service{}
	for _, s := range d.Services {
		all[s.Name] = s
	}
	return all
}
