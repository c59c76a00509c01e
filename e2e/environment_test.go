//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

// TestSameInstanceFromEverywhere: neither the environment nor the way to the project makes
// another daemon.
func TestSameInstanceFromEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	want := w.pid()
	sub := filepath.Join(w.project, "a", "b")
	require.NoError(t, os.MkdirAll(sub, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(w.project, "hob.toml"), nil, 0o644))
	link := filepath.Join(w.home, "link")
	require.NoError(t, os.Symlink(w.project, link))
	for name, change := range map[string]func(*exec.Cmd){
		"as it was":                 func(c *exec.Cmd) {},
		"another TMPDIR":            func(c *exec.Cmd) { c.Env = append(c.Env, "TMPDIR="+w.home) },
		"no XDG_RUNTIME_DIR":        func(c *exec.Cmd) { c.Env = append(c.Env, "XDG_RUNTIME_DIR=/nonexistent") },
		"a foreign XDG_RUNTIME_DIR": func(c *exec.Cmd) { c.Env = append(c.Env, "XDG_RUNTIME_DIR=/") },
		"a relative XDG_STATE_HOME": func(c *exec.Cmd) { c.Env = append(c.Env, "XDG_STATE_HOME=state") },
		"nearly no environment":     func(c *exec.Cmd) { c.Env = []string{"HOME=" + w.home} },
		"through a symlink":         func(c *exec.Cmd) { c.Dir = link; c.Env = append(c.Env, "PWD="+link) },
		"from a subdirectory":       func(c *exec.Cmd) { c.Dir = sub },
		"-C with ..":                func(c *exec.Cmd) { c.Dir = "/"; c.Args = append(c.Args, "-C", sub+"/../..") },
		"-C with a slash":           func(c *exec.Cmd) { c.Dir = "/"; c.Args = append(c.Args, "-C", link+"/") },
		"HOB_PROJECT":               func(c *exec.Cmd) { c.Dir = "/"; c.Env = append(c.Env, "HOB_PROJECT="+link) },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := w.command("daemon", "ping", "--json")
			change(cmd)
			r := w.run(cmd)
			require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
			require.Contains(t, r.stdout, fmt.Sprintf(`"pid":%d`, want))
		})
	}
}

// TestNoEnvironmentAtAll: env -i, as from cron. The home comes from the user database, so the
// instance is this user's own; nothing may be started for the test in there.
func TestNoEnvironmentAtAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	state := func(env []string) string {
		cmd := w.command("daemon", "status", "--json")
		cmd.Env = env
		r := w.run(cmd)
		require.Equal(t, 3, r.code, "%s%s", r.stdout, r.stderr)
		return r.stdout
	}
	home, err := exec.Command("sh", "-c", "getent passwd $(id -u) | cut -d: -f6").Output()
	require.NoError(t, err)
	if len(home) == 0 {
		t.Skip("this user is not in the user database")
	}
	require.Equal(t, state([]string{"HOME=" + strings.TrimSpace(string(home))}), state([]string{}))
}

// TestLongHome: a home of 200 bytes; the socket's path is far longer than sun_path.
func TestLongHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.home = filepath.Join(w.home, strings.Repeat("h", 200))
	require.NoError(t, os.Mkdir(w.home, 0o755))
	require.Greater(t, len(w.inst().Path("hob.sock")), 200)
	w.ok("run", "web", "--", "sleep", "1000")
	w.ok("daemon", "ping")
	w.ok("down")
}

// TestProjectsAreApart: a second project never reaches the first one's daemon, also when it
// takes the first one's path.
func TestProjectsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	first, pid := w.project, w.pid()
	w.project = filepath.Join(filepath.Dir(first), "second")
	require.NoError(t, os.Mkdir(w.project, 0o755))
	require.Empty(t, w.doc(0, "ps").Services)
	w.ok("daemon", "start")
	require.NotEqual(t, pid, w.pid())
	w.ok("daemon", "stop")
	// The first project is moved away and another takes its path: its daemon serves a directory
	// that this is not.
	require.NoError(t, os.Rename(first, first+".moved"))
	w.project = first
	require.NoError(t, os.Mkdir(w.project, 0o755))
	e := w.failure(1, "ps")
	require.Equal(t, "collision", e.Code, e.Message)
	require.Contains(t, e.Message, "inode")
	require.NoError(t, os.Remove(w.project))
	require.NoError(t, os.Rename(first+".moved", first))
	require.Equal(t, "running", w.doc(0, "ps", "web").Service.State)
}

// TestDaemonEnvironment: the daemon has a few variables only; a service has its caller's.
func TestDaemonEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = []string{"SSH_AUTH_SOCK=/gone", "LD_LIBRARY_PATH=/x", "GODEBUG=gctrace=0", "SECRET=1", "MAKEFLAGS=-j", "NOTIFY_SOCKET=/x", "LISTEN_FDS=1"}
	w.ok("daemon", "start")
	environ := func(pid int) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		require.NoError(t, err)
		return "\x00" + string(data)
	}
	for _, name := range []string{"SSH_AUTH_SOCK", "LD_LIBRARY_PATH", "GODEBUG", "SECRET", "MAKEFLAGS", "NOTIFY_SOCKET"} {
		require.NotContains(t, environ(w.pid()), "\x00"+name+"=")
	}
	w.env = append(w.env, "SECRET=2")
	w.ok("run", "web", "--", "sleep", "1000")
	env := environ(w.doc(0, "ps", "web").Service.Pid)
	require.Contains(t, env, "\x00SECRET=2\x00")
	require.Contains(t, env, "\x00HOB_SERVICE=web\x00")
	require.Contains(t, env, "\x00HOB_ROOT="+w.project+"\x00")
	require.Contains(t, env, "HOB_ID="+w.inst().ID+"/web/1\x00")
	for _, name := range []string{"MAKEFLAGS", "NOTIFY_SOCKET", "LISTEN_FDS", "HOB_HANDOFF"} {
		require.NotContains(t, env, "\x00"+name+"=")
	}
	w.env[len(w.env)-1] = "SECRET=3"
	require.Equal(t, []string{"SECRET"}, w.doc(0, "ps", "web").Service.EnvDrift)
	require.NotContains(t, w.ok("ps", "web").stdout, "SECRET=", "values are nobody's business")
}

// TestStateDirectoryOfOthers: one of another owner or open to others is refused with the way
// out, and left as it is.
func TestStateDirectoryOfOthers(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, w *world, verdict string, words ...string) {
		require.Equal(t, verdict, w.doc(1, "daemon", "status").Daemon.State)
		for _, args := range [][]string{{"daemon", "start"}, {"run", "web", "--", "true"}, {"ps"}} {
			e := w.failure(1, append([]string{next}, args...)...)
			for _, word := range words {
				require.Contains(t, e.Message+e.Hint, word, args)
			}
		}
	}
	t.Run("mode 0755", func(t *testing.T) {
		w := newWorld(t)
		require.NoError(t, os.MkdirAll(w.stateDir(), 0o700))
		require.NoError(t, os.Chmod(w.stateDir(), 0o755))
		refused(t, w, "foreign", "0755", "chmod 0700 "+w.stateDir())
		fi, err := os.Stat(w.stateDir())
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o755), fi.Mode().Perm())
	})
	t.Run("another owner", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can make a directory of another owner")
		}
		w := newWorld(t)
		require.NoError(t, os.MkdirAll(w.stateDir(), 0o700))
		require.NoError(t, os.Chown(w.stateDir(), 12345, 12345))
		refused(t, w, "foreign", "12345", "sudo -H")
		require.NoError(t, os.Chown(w.stateDir(), 0, 0))
	})
	t.Run("a symlink", func(t *testing.T) {
		w := newWorld(t)
		require.NoError(t, os.MkdirAll(w.stateDir()+".elsewhere", 0o700))
		require.NoError(t, os.Symlink(w.stateDir()+".elsewhere", w.stateDir()))
		refused(t, w, "unknown", "symlink")
	})
}

// TestForeignMarker: a project marker of another user does not decide what runs.
func TestForeignMarker(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file of another owner")
	}
	w := newWorld(t)
	marker := filepath.Join(w.project, "hob.toml")
	require.NoError(t, os.WriteFile(marker, nil, 0o644))
	require.NoError(t, os.Chown(marker, 12345, 12345))
	e := w.failure(1, "daemon", "start")
	require.Contains(t, e.Message, marker)
}

// TestPidNamespace: from inside a pid namespace the daemon outside is found, its lock is seen to
// be held when it does not answer, and it can't be evicted from there.
func TestPidNamespace(t *testing.T) {
	t.Parallel()
	unshare := []string{"unshare", "-rpf", "--mount-proc"}
	if os.Geteuid() == 0 {
		unshare = []string{"unshare", "-pf", "--mount-proc"}
	}
	if exec.Command(unshare[0], append(unshare[1:], "true")...).Run() != nil {
		t.Skip("no pid namespaces here")
	}
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	inside := func(args ...string) result {
		cmd := exec.Command(unshare[0], append(append([]string{}, unshare[1:]...), append([]string{filepath.Join(w.bin, "hob")}, args...)...)...)
		cmd.Dir, cmd.Env = w.project, w.environ()
		return w.run(cmd)
	}
	r := inside("daemon", "ping")
	require.Zero(t, r.code, r.stderr)
	pid := w.pid()
	w.stop(pid)
	require.NoError(t, os.Rename(w.inst().Path("hob.sock"), w.inst().Path("aside")))
	r = inside("daemon", "status", "--json", next)
	require.Contains(t, r.stdout, `"state":"starting"`, "the lock is held: %s", r.stderr)
	r = inside("daemon", "restart", "--force", next)
	require.NotZero(t, r.code)
	require.Contains(t, r.stderr, "pid namespace")
	w.kill(pid, syscall.SIGCONT)
	w.eventually("it heals", func() bool { return w.hob("daemon", "ping", "--no-spawn").code == 0 })
	require.Equal(t, pid, w.pid())
	require.EqualValues(t, 1, w.attempts())
}

// TestOrdinaryUser: all of it without privileges.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("every test is run by an ordinary user already")
	}
	w := newWorld(t)
	base := filepath.Dir(w.home)
	for _, dir := range []string{base, w.home, w.project} {
		require.NoError(t, os.Chown(dir, 12345, 12345))
	}
	as := func(uid uint32, args ...string) result {
		cmd := w.command(args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return w.run(cmd)
	}
	r := as(12345, "run", "web", "--", "sleep", "1000")
	require.Zero(t, r.code, r.stderr)
	pid := w.pid()
	require.Equal(t, "12345\t12345\t12345\t12345", statusField(t, pid, "Uid"))
	require.Contains(t, as(12345, "ps").stdout, "running")
	// Root with the user's home is told so, and so is another user.
	r = w.hob("ps")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "uid 12345")
	r = as(23456, "ps")
	require.Equal(t, 1, r.code, r.stdout)
	require.Contains(t, r.stderr, "permission denied")
	r = as(12345, "down")
	require.Zero(t, r.code, r.stderr)
	require.Empty(t, openers(w.inst().LockPath()))
}

// TestFullDisk: on a disk without room the reason comes back at once, and when there is room
// again the next client succeeds.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	for name, options := range map[string]string{"no bytes": "size=64k", "no inodes": "size=4m,nr_inodes=30"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			require.NoError(t, os.MkdirAll(w.stateDir(), 0o700))
			require.NoError(t, syscall.Mount("hob-test", w.stateDir(), "tmpfs", syscall.MS_NOSUID, options+",mode=0700"))
			t.Cleanup(func() {
				w.end()
				w.eventually("nobody has a file there", func() bool { return syscall.Unmount(w.stateDir(), 0) == nil })
			})
			filler := filepath.Join(w.stateDir(), "filler")
			fill(filler)
			for i, r := range w.atOnce(50, func(int) *exec.Cmd { return w.command("daemon", "start", "--json", unhurried) }) {
				require.Equal(t, 1, r.code, "client %d: %s%s", i, r.stdout, r.stderr)
				require.Contains(t, r.stdout, "no space left on device")
				var d api.ErrorDocument
				require.NoError(t, json.Unmarshal([]byte(r.stdout), &d))
				require.NotEqual(t, "timeout", d.Error.Code)
			}
			if rec, ok := w.record(); ok {
				require.LessOrEqual(t, rec.Attempt, int64(2))
			}
			require.NoError(t, os.RemoveAll(filler))
			w.ok("daemon", "start", next)
			w.ok("daemon", "stop")
		})
	}
}

// fill uses up a small file system: its bytes and its inodes.
func fill(dir string) {
	if os.Mkdir(dir, 0o700) != nil {
		return
	}
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return
		}
		written := 0
		for n := 0; err == nil; written += n {
			n, err = f.Write(make([]byte, 4096))
		}
		f.Close()
		if written == 0 {
			return
		}
	}
}

// TestUnwritableStateDirectory: every one of 50 clients says so, and nothing was executed.
func TestUnwritableStateDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.stateDir(), 0o700))
	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Mount(w.stateDir(), w.stateDir(), "", syscall.MS_BIND, ""))
		require.NoError(t, syscall.Mount("", w.stateDir(), "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		t.Cleanup(func() {
			w.eventually("nobody looks there", func() bool { return syscall.Unmount(w.stateDir(), 0) == nil })
		})
	} else {
		require.NoError(t, os.Chmod(w.stateDir(), 0o500))
		t.Cleanup(func() { _ = os.Chmod(w.stateDir(), 0o700) })
	}
	for i, r := range w.atOnce(50, func(int) *exec.Cmd { return w.command("daemon", "start", "--json", unhurried) }) {
		require.Equal(t, 1, r.code, "client %d: %s%s", i, r.stdout, r.stderr)
		require.Contains(t, r.stdout, w.stateDir())
	}
	_, ok := w.record()
	require.False(t, ok)
}
