package daemon

import (
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/sentry"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/supervisor"
)

// sentryVerb is what makes hobd a sentry: hobd sentry --project DIR.
const sentryVerb = "sentry"

// guardian keeps a sentry while there are services.
type guardian struct {
	inst   instance.Instance
	sup    *supervisor.Supervisor
	log    *slog.Logger
	keeper *sentry.Keeper
	seen   time.Time // when the last hobd was seen; zero: it left in good order
}

// newGuardian looks at what the last hobd left, so it is called before anything is written. failed is how many
// hobds before this one ended by themselves, one after the other. managed: somebody else starts the next one.
func newGuardian(inst instance.Instance, sup *supervisor.Supervisor, log *slog.Logger, failed int, managed bool) *guardian {
	args := []string{"hobd", sentryVerb, "--project", inst.Root.Path}
	if failed > 0 {
		args = append(args, "--failed", strconv.Itoa(failed))
	}
	if managed {
		args = append(args, "--managed")
	}
	g := &guardian{inst: inst, sup: sup, log: log, seen: lastSeen(inst)}
	g.keeper = sentry.Keep(sentry.Options{
		Command: sentry.Command{Program: ownProgram, Args: args, Env: sentryEnv(inst), Output: g.output},
		FIFOs:   g.fifos, Files: sup.Files, Door: inst.Path(instance.SentryName), Note: g.note, Log: log,
	})
	return g
}

// adopted is called when what lives is adopted. When it returns the sentry has its ends, and an earlier one may go.
func (g *guardian) adopted() {
	if !g.seen.IsZero() {
		g.log.Warn("hobd was down", "from", g.seen.Format(time.RFC3339Nano), "to", time.Now().Format(time.RFC3339Nano))
	}
	g.keeper.Sync()
	fault.Point("daemon.guarded")
}

// sentryName is the file that names the sentry of now.
const sentryName = "sentry.pid"

// note lets an earlier sentry see that it has a successor, also when this hobd dies before it could say so.
func (g *guardian) note(who string) {
	err := inDir(g.inst, false, func(dir *os.File) error { return instance.WriteFile(dir, sentryName, []byte(who)) })
	if err != nil {
		g.log.Error("note the sentry", "err", err)
	}
}

// changed is told of each change of a service.
func (g *guardian) changed(service.State, service.Status) { g.keeper.Update() }

// leave is for the end: with keep the services live on, and so does the sentry until the next hobd has one.
func (g *guardian) leave(keep bool) { g.keeper.Close(keep) }

// handOver is for the end of a program that becomes another one: see sentry.Keeper.HandOver.
func (g *guardian) handOver() *os.File { return g.keeper.HandOver() }

// fifos are those of the services of which something may live, or that are to be started.
func (g *guardian) fifos() map[string]string {
	all := map[string]string{}
	for _, st := range g.sup.List() {
		if mayWrite(st) {
			all[st.Name] = g.inst.Path(instance.FIFOName, st.Name)
		}
	}
	return all
}

// mustStay: hobd has something that would be lost without it, or another one in its place.
func mustStay(st service.Status) bool { return mayWrite(st) || st.Held }

// mayWrite: Pid is kept while something is left of a run that has ended.
func mayWrite(st service.Status) bool {
	return st.State.Alive() || st.State.Pending() || st.Pid != 0
}

// output opens hobd.log, which is not always hobd's own stderr.
func (g *guardian) output() (*os.File, error) {
	path := g.inst.Path(instance.DaemonLog)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	_ = unix.SetNonblock(fd, false)
	return os.NewFile(uintptr(fd), path), nil
}

// sentryEnv is hobd's own environment, without what would make the sentry a member of somebody's tree, or have it
// speak to somebody's manager.
func sentryEnv(inst instance.Instance) []string {
	drop := []string{"HOB_ID", "HOB_HANDOFF", "HOB_STATE_DIR", "GOMAXPROCS", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
		"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(drop, name)
	})
	// One thread's worth of memory does for somebody who waits.
	return append(env, "HOB_STATE_DIR="+inst.State, "GOMAXPROCS=1")
}

// ownProgram is what this process executes: by its name while that is the same file, for people who look at the
// list of processes.
func ownProgram() (string, error) {
	const self = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	running, err := os.Stat(self)
	if err != nil {
		return path, nil // not on this system
	}
	if named, err := os.Stat(path); err != nil || !os.SameFile(running, named) {
		return self, nil
	}
	return path, nil
}

// stepProgram is this program for its own children, whatever has become of the file.
func stepProgram() (string, error) {
	const self = "/proc/self/exe" // in the child it is the same one: proc_pid_exe(5)
	if _, err := os.Stat(self); err == nil {
		return self, nil
	}
	return os.Executable()
}

// nextProgram is the hobd to start after this one: HOB_DAEMON as for every client, else what is installed where this
// one was, else this one once more.
func nextProgram() (string, error) {
	if path := os.Getenv("HOB_DAEMON"); strings.HasPrefix(path, "/") {
		return path, nil
	}
	path, err := os.Executable()
	if err == nil {
		path = strings.TrimSuffix(path, " (deleted)")
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
			return path, nil
		}
	}
	return ownProgram()
}
