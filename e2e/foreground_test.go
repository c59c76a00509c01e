//go:build linux

package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// hobd is a call of the daemon's program by hand.
func (w *world) hobd(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.bin, "hobd"), args...)
	cmd.Dir, cmd.Env = w.project, w.environ()
	return cmd
}

// TestForeground: a hobd that was typed by hand has the same lock: clients use it, none starts
// a second one beside it, and neither can another hand. INT ends it, with its services.
func TestForeground(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.hobd("--foreground")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	w.eventually("it serves", func() bool { return w.hob("daemon", "ping").code == 0 })
	require.Equal(t, cmd.Process.Pid, w.pid())
	w.ok("run", "web", "--", "sleep", "1000")
	require.Equal(t, cmd.Process.Pid, w.doc(0, "daemon", "start").Daemon.Pid)
	second := w.run(w.hobd("--foreground"))
	require.Equal(t, 1, second.code)
	require.Contains(t, second.stderr, "another daemon has the lock")
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, <-ended, stderr.String())
	require.Empty(t, w.marked("web"))
	w.ok("daemon", "start")
	w.ok("daemon", "stop")
}

// TestHobdByHandWithoutForeground says what to do instead.
func TestHobdByHandWithoutForeground(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(w.hobd())
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "hobd --foreground")
	require.NoDirExists(t, w.stateDir())
	r = w.run(w.hobd("--nonsense"))
	require.Equal(t, 2, r.code)
}
