//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
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

// TestHobdAsPidOne: in a container it reaps what nobody else does, and never what it has to know the end of; TERM ends it in good order though
// pid 1 has no default actions.
func TestHobdAsPidOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("no unshare")
	}
	flags := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Geteuid() != 0 {
		flags = append([]string{"--user", "--map-current-user"}, flags...)
	}
	if out, err := exec.Command(unshare, append(flags, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no pid namespace of our own: %s", out)
	}
	cmd := exec.Command(unshare, append(flags, filepath.Join(w.bin, "hobd"), "--foreground", "--project", w.project)...)
	cmd.Dir, cmd.Env = w.project, w.environ()
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	w.eventually("it serves", func() bool { return w.pid() == 1 })
	one := 0
	w.eventually("it is there", func() bool {
		for _, pid := range children(cmd.Process.Pid) {
			one = pid
		}
		return one != 0 && len(openers(w.inst().LockPath())) > 0
	})
	inside := func(args ...string) result { // as with docker exec
		cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(one), "--pid", "--mount", "--"}, args...)...)
		if os.Geteuid() != 0 {
			cmd = exec.Command("nsenter", append([]string{"--target", strconv.Itoa(one), "--user", "--preserve-credentials", "--pid", "--mount", "--"}, args...)...)
		}
		cmd.Dir, cmd.Env = w.project, w.environ()
		return w.run(cmd)
	}
	hob := filepath.Join(w.bin, "hob")
	r := inside(hob, "run", "web", "--restart", "no", "--", "sh", "-c", "(sleep 1000 &); sleep 1000")
	require.Zero(t, r.code, r.stderr+said.String())
	self, err := os.Executable()
	require.NoError(t, err)
	r = inside("env", "HOB_E2E_HELPER=orphans", self, "250")
	require.Zero(t, r.code, r.stdout+r.stderr)
	w.eventually("none of 500 orphans is a zombie", func() bool { return len(zombiesOf(one)) == 0 && len(children(one)) <= 3 })
	for code := 1; code <= 20; code++ {
		r = inside(hob, "run", "--wait", "job", "--replace", "--", "sh", "-c", fmt.Sprintf("(exit 9) & exit %d", code))
		require.Equal(t, code, r.code, r.stderr)
	}
	require.NoError(t, syscall.Kill(one, syscall.SIGTERM))
	require.NoError(t, <-ended, said.String())
	require.Contains(t, said.String(), "msg=stopped")
}
