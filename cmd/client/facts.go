package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
	"github.com/hobworks/hob/internal/version"
)

// factList is what doctor found.
type factList []api.Fact

func (l *factList) good(name, format string, args ...any) {
	*l = append(*l, api.Fact{Name: name, Value: harmless(fmt.Sprintf(format, args...)), OK: true})
}

func (l *factList) bad(name, hint, format string, args ...any) {
	*l = append(*l, api.Fact{Name: name, Value: harmless(fmt.Sprintf(format, args...)), Hint: hint})
}

// facts looks at everything and changes nothing.
func (a *app) facts(ctx context.Context) (factList, error) {
	inst, err := a.instance()
	if err != nil {
		return nil, err
	}
	var l factList
	l.good("project", "%s", inst.Root.Path)
	l.good("found by", "%s", a.foundBy(inst.Root.Path))
	l.good("instance", "%s", inst.ID)
	l.stateDir(inst)
	l.files(inst)
	l.daemon(ctx, inst)
	l.program(ctx)
	l.services(inst)
	l.logs(inst)
	l.inotify()
	return l, nil
}

// foundBy says why this directory is the project.
func (a *app) foundBy(root string) string {
	for _, name := range []string{"hob.toml", ".git", ".hg", ".jj"} {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			return name + by(a)
		}
	}
	return "itself: no hob.toml, .git, .hg or .jj here or above" + by(a)
}

func by(a *app) string {
	if dir, who := a.start(); who != "" {
		return fmt.Sprintf(", from %s %s", who, dir)
	}
	return ""
}

func (l *factList) stateDir(inst instance.Instance) {
	state, err := inst.OpenState(false)
	switch {
	case err == nil:
		defer state.Close()
		fi, serr := state.Stat()
		if serr != nil {
			l.bad("state directory", "", "%v", serr)
			break
		}
		l.good("state directory", "%s, mode %04o, yours", inst.State, fi.Mode().Perm())
	case absent(err):
		l.good("state directory", "%s, not there yet", inst.State)
	default:
		l.bad("state directory", hintOf(err), "%v", err)
	}
	name := instance.FSName(inst.State)
	if name == "local" {
		l.good("file system", "local")
	} else {
		l.bad("file system", "set HOB_STATE_DIR to a directory on a local file system", "%s", name)
	}
	switch {
	case inst.Moved != "":
		l.good("why there", "%s", inst.Moved)
	case instance.StateHomeChanged():
		l.bad("XDG_STATE_HOME", "set it for every program (cron, editors, services), or not at all",
			"%s is not the default: programs without it see another instance", os.Getenv("XDG_STATE_HOME"))
	}
}

// files looks at what lies in the instance directory.
func (l *factList) files(inst instance.Instance) {
	for _, f := range []struct {
		name, path string
		kind       fs.FileMode
	}{
		{"lock file", inst.LockPath(), 0},
		{"directory", inst.Dir(), fs.ModeDir},
		{"socket", inst.Path(instance.SocketName), fs.ModeSocket},
		{"pid file", inst.Path(instance.PidName), 0},
	} {
		fi, err := os.Lstat(f.path)
		switch {
		case absent(err):
			l.good(f.name, "%s, not there", f.path)
		case err != nil:
			l.bad(f.name, "", "%v", err)
		case fi.Mode().Type() != f.kind:
			l.bad(f.name, "move "+f.path+" away", "%s is something else: %v", f.path, fi.Mode())
		case fi.Mode().Perm()&0o077 != 0:
			l.bad(f.name, "chmod go= "+f.path, "%s is open to others: mode %04o", f.path, fi.Mode().Perm())
		default:
			l.good(f.name, "%s, mode %04o%s", f.path, fi.Mode().Perm(), pidIn(f.name, f.path))
		}
	}
}

func pidIn(name, path string) string {
	if name != "pid file" {
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil || len(data) > 20 {
		return ""
	}
	return ", says " + strings.TrimSpace(string(data))
}

// daemon looks who is there.
func (l *factList) daemon(ctx context.Context, inst instance.Instance) {
	s, err := hob.Probe(ctx, hob.Instance{Dir: inst.Root.Path})
	var e *hob.Error
	switch {
	case err == nil:
		l.good("daemon", "ready, pid %d, since %s", s.Pid, ago(s.StartedAt))
		l.good("lock holder", "pid %d", s.Pid)
		if mine := version.String(); s.Version == mine {
			l.good("versions", "hob and hobd %s", mine)
		} else {
			l.bad("versions", "replace hobd with \"hob daemon restart\"; services go on", "hob %s, hobd %s", mine, s.Version)
		}
	case isCode(err, api.CodeNotRunning) && s.State == "stale":
		l.good("daemon", "not running; files of an earlier one are left, the next start replaces them")
		l.good("lock holder", "nobody")
	case isCode(err, api.CodeNotRunning):
		l.good("daemon", "not running")
		l.good("lock holder", "nobody")
	case errors.As(err, &e):
		l.bad("daemon", e.Hint, "%s: %s", s.State, e.Message)
		if s.Pid != 0 {
			l.good("lock holder", "pid %d", s.Pid)
		}
	default:
		l.bad("daemon", "", "%v", err)
	}
}

// program looks at the hobd that a start would execute, and asks it for its version.
func (l *factList) program(ctx context.Context) {
	path, err := exec.LookPath(daemonProgram())
	if err != nil {
		l.bad("hobd program", "install hobd beside hob, or name it with HOB_DAEMON", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	words := strings.Fields(string(out))
	switch {
	case err != nil:
		l.bad("hobd program", "name the right one with HOB_DAEMON", "%s does not say its version: %v", path, err)
	case len(words) != 2 || words[0] != "hobd":
		l.bad("hobd program", "name the right one with HOB_DAEMON", "%s does not say its version: it says %.40q", path, out)
	case words[1] != version.String():
		l.bad("hobd program", "install hob and hobd of one version", "%s is %s, hob is %s", path, words[1], version.String())
	default:
		l.good("hobd program", "%s %s", path, words[1])
	}
}

func (l *factList) services(inst instance.Instance) {
	all, err := store.Read(inst)
	if err != nil {
		l.bad("services", hintOf(err), "%v", err)
		return
	}
	count := map[service.State]int{}
	for _, st := range all {
		count[st.State]++
	}
	var parts []string
	for _, state := range service.States {
		if count[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[state], state))
		}
	}
	if len(parts) == 0 {
		l.good("services", "none")
		return
	}
	l.good("services", "%s", strings.Join(parts, ", "))
}

// logs adds up how large the logs are.
func (l *factList) logs(inst instance.Instance) {
	var total int64
	files := 0
	for _, path := range []string{inst.Path(instance.LogsName), inst.Path(instance.DaemonLog)} {
		_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			if fi, err := e.Info(); err == nil {
				total += fi.Size()
				files++
			}
			return nil
		})
	}
	l.good("logs", "%s in %d files", size(total), files)
}
