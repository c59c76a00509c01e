//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
)

// TestLeftOversOfSudo: somebody has called hob with sudo and with the home of a user, and what it has left belongs to root. That user's hob does
// not mind, or says what is in the way, and how to get rid of it; and that helps.
func TestLeftOversOfSudo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can leave something that belongs to root")
	}
	const user, harmless, fails, refuses = 12345, "", `permission denied|belongs to uid 0`, `hob: hint: .* belongs to uid 0; take it back with "sudo chown -R 12345 `
	for name, says := range map[string]string{
		"the state directory": refuses, "the lock": refuses, "the directory": refuses,
		"hob.pid": harmless, "hob.sock": harmless, "meta.json": harmless, "state/web.json": harmless,
		"hobd.log": refuses, "state": refuses, "log": refuses, "fifo": refuses, "svc": refuses, "env": refuses,
		"log/web": fails, "fifo/web": fails, "svc/web.lock": fails,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.hand(filepath.Dir(w.home), user)
			as := func(args ...string) result {
				cmd := w.command(args...)
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
				return w.run(cmd)
			}
			ok := func(args ...string) {
				r := as(args...)
				require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
			}
			run := []string{"run", "web", unhurried, "--", "sleep", "1000"}
			ok(run...)
			ok("daemon", "stop")
			path, found := map[string]string{"the state directory": w.stateDir(), "the lock": w.inst().LockPath(), "the directory": w.inst().Dir()}[name]
			if !found {
				path = w.inst().Path(name)
			}
			if name == instance.PidName || name == instance.SocketName { // gone with the daemon
				require.NoError(t, os.WriteFile(path, nil, 0o600))
			}
			w.hand(path, 0)
			r := as(run...)
			if says == harmless {
				require.Zero(t, r.code, r.stderr)
				ok("down", unhurried)
				return
			}
			require.Equal(t, 1, r.code, r.stdout)
			require.Contains(t, r.stderr, path)
			require.Regexp(t, says, r.stderr)
			require.NoError(t, w.owned(path, 0), "it is not hob's to change")
			as("down", unhurried)
			if _, err := os.Lstat(path); err == nil { // else hob could remove it after all
				w.hand(path, user)
			}
			ok(run...)
			ok("down", unhurried)
		})
	}
}

// hand gives a file or a tree to a user.
func (w *world) hand(path string, uid int) {
	w.t.Helper()
	require.NoError(w.t, filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, uid, uid)
		}
		return err
	}))
}

// owned is an error if the file belongs to somebody else than that user.
func (w *world) owned(path string, uid uint32) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != uid {
		return fmt.Errorf("%s belongs to uid %d", path, st.Uid)
	}
	return nil
}
