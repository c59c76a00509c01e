//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/process"
)

// TestPlantedSymlinksAreNotFollowed (S1): at no component from the state directory down.
func TestPlantedSymlinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	plant := func(t *testing.T, name string) (w *world, place, victim string) {
		w = newWorld(t)
		place = filepath.Join(w.inst().Dir(), name)
		if name == "state directory" {
			place = w.stateDir()
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(place), 0o700))
		victim = w.own()
		require.NoError(t, os.Symlink(victim, place))
		return w, place, victim
	}
	for _, name := range []string{"state directory", "", "state", "env", "log", "fifo", "svc", "notify", "sock"} {
		w, place, victim := plant(t, name)
		r := w.hob("run", "web", "--", "sh", "-c", "echo x; exec sleep 1000")
		require.Equal(t, 1, r.code, "%s: %s", name, r.stderr)
		require.Contains(t, r.stderr, place)
		w.unharmed(victim)
	}
	for _, name := range []string{"hob.pid", "meta.json", "hobd.log", "hob.sock", "sentry.sock", "sentry.pid", "log/web", "fifo/web", "svc/web.lock", "state/web.json", "notify/web"} {
		w, _, victim := plant(t, name)
		w.hob("run", "web", "--", "sh", "-c", "echo x; exec sleep 1000") // what is no directory is replaced, or is said to be in the way
		w.unharmed(victim)
	}
	t.Run("control", func(t *testing.T) {
		_, place, victim := plant(t, "log")
		require.NoError(t, os.MkdirAll(place, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(place, "new"), nil, 0o600))
		require.FileExists(t, filepath.Join(victim, "new"))
	})
}

// TestPreparedDirectoryIsRefused (S2): one that others may write to, made before hob came, whoever made it. It is named with owner or mode, and left as it is.
func TestPreparedDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	prepare := func(t *testing.T, dir func(*world) string, mode os.FileMode, owner int) (*world, string) {
		w := newWorld(t)
		path := dir(w)
		require.NoError(t, os.MkdirAll(path, 0o700))
		require.NoError(t, os.Chmod(path, mode))
		require.NoError(t, os.Chown(path, owner, -1))
		return w, path
	}
	me := os.Geteuid()
	dirs := []func(*world) string{(*world).stateDir, func(w *world) string { return w.inst().Dir() }, func(w *world) string { return w.inst().Path("log") }}
	for _, dir := range dirs {
		for _, c := range []struct {
			mode  os.FileMode
			owner int
			says  string
		}{{0o777, me, "0777"}, {0o770, me, "0770"}, {0o720, me, "0720"}, {0o777, stranger, "23456"}, {0o700, stranger, "23456"}} {
			if me != 0 && c.owner != me {
				continue // only root can make it
			}
			w, path := prepare(t, dir, c.mode, c.owner)
			r := w.hob("run", "web", "--", "true")
			require.Equal(t, 1, r.code)
			require.Contains(t, r.stderr, path)
			require.Contains(t, r.stderr, c.says)
			var st unix.Stat_t
			require.NoError(t, unix.Lstat(path, &st))
			require.EqualValues(t, c.mode, st.Mode&0o777)
			require.EqualValues(t, c.owner, st.Uid)
		}
	}
	t.Run("control", func(t *testing.T) {
		_, path := prepare(t, dirs[1], 0o777, me)
		require.NoError(t, os.MkdirAll(path, 0o700), "whoever only makes what is missing is content with it")
		secret := filepath.Join(path, "secret")
		require.NoError(t, os.WriteFile(secret, nil, 0o600))
		needTwoUsers(t)
		for dir := filepath.Dir(path); filepath.Base(dir) != "home"; dir = filepath.Dir(dir) {
			require.NoError(t, os.Chmod(dir, 0o755))
		}
		require.Equal(t, "written", attack(t, stranger, nil, "write", secret+".new").says(), "and others put files there")
	})
}

// TestNobodyElseChoosesTheStateDirectory (S3): only HOB_STATE_DIR, XDG_STATE_HOME and the home directory say where it is, relative ones say
// nothing, and whatever they lead to is looked at like any other.
func TestNobodyElseChoosesTheStateDirectory(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"XDG_RUNTIME_DIR", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		w := newWorld(t)
		victim := w.victim()
		w.env = []string{name + "=" + victim}
		w.ok("run", "web", "--", "true")
		w.unharmed(victim)
		require.DirExists(t, w.inst().Dir())
	}
	w := newWorld(t)
	w.env = []string{"XDG_STATE_HOME=state"}
	w.ok("daemon", "start")
	require.Empty(t, namesIn(t, w.project))
	require.DirExists(t, w.inst().Dir())
	w.env = []string{"HOB_STATE_DIR=state"}
	require.Contains(t, w.failure(1, "run", "web", "--", "true").Message, "not absolute")
	require.Empty(t, namesIn(t, w.project))

	victim := w.victim()
	w.env = []string{"HOB_STATE_DIR=" + victim}
	require.Equal(t, 1, w.hob("run", "web", "--", "true").code)
	w.unharmed(victim)
	t.Run("control", func(t *testing.T) {
		require.NoError(t, os.WriteFile(filepath.Join(victim, "socket"), []byte("mine"), 0o644), "who takes the variable at its word is there")
		needTwoUsers(t)
		require.Equal(t, "mine", attack(t, stranger, nil, "read", filepath.Join(victim, "socket")).says())
	})
}

// TestSwappedDirectoryIsNotEntered (S4): the instance directory is replaced by a symlink while hobd stands between two steps of its start. It goes
// on in the one that it has opened, or gives up.
func TestSwappedDirectoryIsNotEntered(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"daemon.adopted", "daemon.pidfile", "daemon.loaded", "daemon.bound", "daemon.self-hello", "daemon.verified"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			victim := w.own()
			w.env = []string{"HOB_FAULT=" + point + "=stop"}
			cmd := w.command("daemon", "start", "--timeout=30s")
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			var pid int
			w.eventually("hobd stands still", func() bool {
				for _, pid = range openers(w.inst().LockPath()) {
					if info, err := process.Stat(pid); err == nil && info.State == 'T' && pid != cmd.Process.Pid {
						return true
					}
				}
				return false
			})
			dir := w.inst().Dir()
			require.NoError(t, os.Rename(dir, dir+".aside"))
			require.NoError(t, os.Symlink(victim, dir))
			if point == "daemon.verified" {
				t.Run("control", func(t *testing.T) {
					l, err := net.Listen("unix", w.inst().Path("s"))
					require.NoError(t, err)
					defer l.Close()
					require.Contains(t, namesIn(t, victim), "s", "who binds by path is led there")
				})
			}
			w.kill(pid, syscall.SIGCONT)
			_ = cmd.Wait()
			w.eventually("it has ended, or has seen what became of its directory, and said that it can't be mended", func() bool {
				said, _ := os.ReadFile(filepath.Join(dir+".aside", instance.DaemonLog))
				return !running(pid) || strings.Contains(string(said), "publish the socket again")
			})
			w.unharmed(victim)
		})
	}
}

// TestPlantedLockFileIsRefused (S5): what is no lock file of ours is named and not touched; so are pid file and meta, which are replaced.
func TestPlantedLockFileIsRefused(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(path, canary string) error{
		"a symlink":            func(p, c string) error { return os.Symlink(c, p) },
		"a symlink to nothing": func(p, c string) error { return os.Symlink(c+".new", p) },
		"a FIFO":               func(p, _ string) error { return unix.Mkfifo(p, 0o600) },
		"a hard link":          func(p, c string) error { return os.Link(c, p) },
		"a hard link of one's own": func(p, c string) error {
			own := filepath.Join(filepath.Dir(filepath.Dir(c)), "own")
			return errors.Join(os.WriteFile(own, nil, 0o600), os.Link(own, p))
		},
		"a device":              func(p, _ string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) },
		"a socket":              func(p, _ string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
		"a file open to others": func(p, _ string) error { _ = os.WriteFile(p, nil, 0o600); return os.Chmod(p, 0o666) },
	}
	for kind, put := range kinds {
		w := newWorld(t)
		require.NoError(t, os.MkdirAll(w.inst().Dir(), 0o700))
		victim := w.victim()
		if err := put(w.inst().LockPath(), filepath.Join(victim, "canary")); err != nil {
			t.Logf("%s can't be made here: %v", kind, err)
			continue
		}
		r := w.hob("daemon", "start", "--timeout=20s")
		require.Equal(t, 1, r.code, kind)
		require.Contains(t, r.stderr, w.inst().LockPath(), kind)
		w.unharmed(victim)
		require.NoError(t, os.Remove(w.inst().LockPath()))
		for _, name := range []string{instance.PidName, instance.MetaName} {
			if kind != "a file open to others" {
				require.NoError(t, put(w.inst().Path(name), filepath.Join(victim, "canary")))
			}
		}
		w.ok("daemon", "start")
		w.unharmed(victim)
		fi, err := os.Lstat(w.inst().Path(instance.PidName))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), fi.Mode(), kind)
	}
	t.Run("control", func(t *testing.T) {
		for _, kind := range []string{"a symlink", "a symlink to nothing", "a hard link"} {
			w := newWorld(t)
			victim, path := w.victim(), filepath.Join(w.home, "lock")
			require.NoError(t, kinds[kind](path, filepath.Join(victim, "canary")))
			require.NoError(t, os.WriteFile(path, []byte("4711\n"), 0o600), "a plain open is led to it")
			changed := ""
			for _, name := range namesIn(t, victim) {
				changed += w.slurp(filepath.Join(victim, name))
			}
			require.Contains(t, changed, "4711", kind)
		}
	})
}

func (w *world) slurp(path string) string {
	w.t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(w.t, err)
	return string(data)
}

// TestHostileNamesLeadNowhere (S13): what is no name of a service is refused wherever it comes from, and nothing is made of it.
func TestHostileNamesLeadNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	before := w.snapshot()
	names := []string{"../x", "a/b", "..", ".", "-rf", ".hidden", "a..b", "a\nb", "a\x1b[2J", "a b", "", strings.Repeat("x", 300), "ünï", "a\x00b", "/etc/x"}
	for _, name := range names {
		if !strings.Contains(name, "\x00") {
			r := w.hob("run", name, "--", "true")
			require.NotZero(t, r.code, "%q", name)
			require.NotContains(t, r.stderr, "\x1b")
		}
		for _, method := range []string{"service.run", "service.stop", "service.start", "service.restart"} {
			c := w.connect()
			_, err := fmt.Fprintf(c, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{"name":%s,"names":[%[2]s],"cmd":["true"],"dir":"/"}}`+"\n", method, jsonText(name))
			require.NoError(t, err)
			require.Contains(t, reply(t, c), `"error"`, "%s %q", method, name)
		}
	}
	require.Equal(t, before, w.snapshot())
	w.toml("[services.\"../x\"]\nrun = \"true\"\n")
	require.Equal(t, 2, w.hob("up").code)
	require.NoError(t, os.Remove(filepath.Join(w.project, "hob.toml")))
	require.NoError(t, os.WriteFile(filepath.Join(w.project, "Procfile"), []byte("../x: true\n"), 0o644))
	require.Equal(t, 2, w.hob("up").code)
	require.NoError(t, os.Remove(filepath.Join(w.project, "Procfile")))
	require.Equal(t, before, w.snapshot())
	t.Run("control", func(t *testing.T) {
		path := filepath.Join(w.inst().Path("state"), "../x"+".json")
		require.NoError(t, os.WriteFile(path, nil, 0o600), "a name that is only joined leads out")
		require.FileExists(t, w.inst().Path("x.json"))
	})
}

// TestPidFileNeverDecides (S16): whatever it says, nobody is signalled and no daemon is believed to be there. TestPidFile has what is read of it.
func TestPidFileNeverDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("daemon", "start")
	w.ok("daemon", "stop")
	bystander := exec.Command("sleep", "1000")
	bystander.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, bystander.Start())
	ended := make(chan error, 1)
	go func() { ended <- bystander.Wait() }()
	t.Cleanup(func() { _ = bystander.Process.Kill() })
	pid := bystander.Process.Pid
	for _, text := range []string{fmt.Sprint(pid), fmt.Sprint(-pid), "0", "-1", "1", fmt.Sprint(os.Getpid()), "99999999999999999999", "4194305", strings.Repeat("9", 1<<16), "", "x\x1b[2J", "\x00"} {
		for _, args := range [][]string{{"daemon", "status"}, {"daemon", "stop"}, {"daemon", "restart", "--force"}, {"down"}} {
			w.file(text+"\n", instance.PidName)
			r := w.hob(args...)
			require.Contains(t, []int{0, 3}, r.code, "%.30q, %v: %s", text, args, r.stderr)
			require.NotContains(t, r.stdout+r.stderr, "\x1b")
			w.ok("daemon", "stop")
		}
	}
	require.Empty(t, ended)
	t.Run("control", func(t *testing.T) {
		w.file(fmt.Sprintln(pid), instance.PidName)
		require.NoError(t, exec.Command("sh", "-c", "kill $(cat "+w.inst().Path(instance.PidName)+")").Run())
		require.ErrorContains(t, <-ended, "terminated", "who believes it ends a stranger")
	})
}

// TestOneInstanceIsOneDirectory (S17): a directory that only has the same path is another one and its clients are told so; a path can have any bytes;
// a symlink leads to the instance of the directory itself.
func TestOneInstanceIsOneDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.project
	seen := map[int]string{}
	for _, name := range []string{"a", "a\nb", "a\x1b[2Jb", "-rf", "a (deleted)", "a b", "\xff"} {
		w.project = filepath.Join(base, name)
		require.NoError(t, os.Mkdir(w.project, 0o755))
		w.ok("daemon", "start")
		require.Empty(t, seen[w.pid()])
		seen[w.pid()] = name
	}
	r := w.ok("list")
	require.NotContains(t, r.stdout, "\x1b")
	require.Equal(t, len(seen), strings.Count(r.stdout, w.inst().Root.Path[:len(base)]), r.stdout)

	w.project = filepath.Join(base, "a")
	pid := w.pid()
	link := filepath.Join(base, "link")
	require.NoError(t, os.Symlink("a", link))
	cmd := w.command("daemon", "start", "--json")
	cmd.Dir, cmd.Env = link, append(cmd.Env, "PWD="+link)
	require.Contains(t, w.run(cmd).stdout, fmt.Sprintf(`"pid":%d`, pid))

	require.NoError(t, os.Rename(w.project, w.project+".moved"))
	require.NoError(t, os.Mkdir(w.project, 0o755))
	require.Equal(t, "collision", w.failure(1, "run", "web", "--", "true").Code)
	t.Run("control", func(t *testing.T) {
		c := w.connect() // to the same path's socket
		_, err := fmt.Fprintln(c, `{"jsonrpc":"2.0","id":1,"method":"hob.status"}`)
		require.NoError(t, err)
		require.Contains(t, reply(t, c), fmt.Sprintf(`"pid":%d`, pid), "who says no hello talks to another directory's daemon")
	})
	require.NoError(t, os.Remove(w.project))
	require.NoError(t, os.Rename(w.project+".moved", w.project))
}

// TestReplacedProjectIsNoticed (S18): a daemon whose directory was replaced by another one leaves, and takes its services along.
func TestReplacedProjectIsNoticed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", "cd /; exec sleep 1000")
	pid, inst := w.pid(), w.inst()
	require.NoError(t, os.Rename(w.project, w.project+".moved"))
	require.NoError(t, os.Mkdir(w.project, 0o755))
	t.Run("control", func(t *testing.T) {
		require.DirExists(t, inst.Root.Path, "who looks at the path sees a directory")
		require.Equal(t, inst.ID, w.inst().ID, "and the same instance")
	})
	w.eventually("it leaves", func() bool { return len(openers(inst.LockPath())) == 0 })
	require.Empty(t, w.marked("web"))
	require.Contains(t, w.daemonLog(), "the project's directory is gone")
	w.ok("daemon", "start")
	require.NotEqual(t, pid, w.pid())
}
