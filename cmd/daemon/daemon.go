// Package daemon is the program hobd: it wires the supervisor to the public package hob, whose
// ordinary user it is, and turns signals into requests. It never decides a service's fate.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/sentry"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
	"github.com/hobworks/hob/internal/supervisor"
	"github.com/hobworks/hob/internal/upgrade"
	"github.com/hobworks/hob/internal/version"
)

// Main runs hobd and returns its exit status: 0 after an orderly stop, 1 when it could not
// serve, 2 when it was called wrongly, and exitReplace.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == sentryVerb {
		return sentryMain(args[1:], stderr)
	}
	if len(args) > 0 && args[0] == execVerb {
		return process.ExecStep(args[1:])
	}
	if code, ok := runProgram(args, stdout, stderr); ok {
		return code
	}
	// First of all: a TERM during the start must abort it, not be lost; and what is ignored
	// here would be ignored in every service (signal(7)). Unblocked first: one that was waiting is
	// for the program that this one then executes.
	unblock()
	sig := catch()
	fault.Point("daemon.start")
	flags := flag.NewFlagSet("hobd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	project := flags.String("project", "", "the project's `directory`; default: the one that the working directory lies in")
	foreground := flags.Bool("foreground", false, "serve in the foreground, started by hand or by a service manager")
	selftest := flags.Bool("selftest", false, "say in one line what this program is, and whether it could take over from the hobd that runs; serve nothing")
	failed := flags.Int("failed", 0, "how many daemons have ended by themselves, one after the other; the sentry says it")
	ver := flags.Bool("version", false, "print the version")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		if flags.NArg() > 0 {
			fmt.Fprintf(stderr, "hobd: unexpected argument %q\n", flags.Arg(0))
		}
		return 2
	}
	if *ver {
		fmt.Fprintln(stdout, "hobd", version.String())
		return 0
	}
	if *selftest {
		upgrade.SetTrial()
	}
	d, err := newDaemon(*project, newLogger(stderr))
	if err == nil {
		err = d.serve(sig, *foreground, *failed)
	}
	if err != nil {
		complain(stderr, err)
		return 1
	}
	return d.boss.exitStatus()
}

// daemon is hobd for one project.
type daemon struct {
	inst  instance.Instance
	log   *slog.Logger
	store *store.Store
	sup   *supervisor.Supervisor
	guard *guardian
	found []service.Status    // what Load read, until Run adopts it
	files map[string]*os.File // what the program has left that this one was before; nil: it was none
	sig   *signals
	boss  *manager
	mem   memory

	adopted chan struct{} // closed when what still runs is adopted
	leaving chan struct{} // closed when this daemon stops or lets go of what runs

	idleExit chan time.Duration // for Serve; what the file that was applied last says
	settled  store.Settings     // the same, of reload and up, one after the other
	setting  sync.Mutex         // guards settled
}

// execVerb is what makes hobd the step between a fork and a service that gets a socket: hobd exec STATUS_FD PATH ARG….
const execVerb = "exec"

func newDaemon(project string, log *slog.Logger) (*daemon, error) {
	root, err := findRoot(project)
	if err != nil {
		return nil, err
	}
	inst, err := instance.New(root, "")
	if err != nil {
		return nil, err
	}
	return &daemon{inst: inst, log: log, adopted: make(chan struct{}), leaving: make(chan struct{}), idleExit: make(chan time.Duration, 1)}, nil
}

func findRoot(project string) (instance.Root, error) {
	if project != "" {
		return instance.OpenRoot(project)
	}
	return instance.FindRoot(".")
}

// serve blocks for the daemon's whole life.
func (d *daemon) serve(sig *signals, foreground bool, failed int) (err error) {
	self, err := stepProgram()
	if err != nil {
		return err
	}
	d.sup, err = supervisor.New(supervisor.Options{
		ID: d.inst.ID, Root: d.inst.Root.Path, Log: d.log, Store: lateStore{d},
		Logs: d.inst.Path(instance.LogsName), FIFOs: d.inst.Path(instance.FIFOName), Locks: d.inst.Path(instance.LocksName),
		Notify:   d.inst.Path(instance.NotifyName),
		ExecStep: []string{self, execVerb},
		Keep:     func() { d.guard.keeper.Sync() },
		Changed: func(from service.State, now service.Status) {
			d.guard.changed(from, now)
			d.boss.changed()
			d.mem.used()
		},
	})
	if err != nil {
		return err
	}
	if foreground {
		d.boss = newManager(d.inst, d.sup.List, d.log)
	}
	d.sig, d.mem = sig, newMemory()
	d.guard = newGuardian(d.inst, d.sup, d.log, failed, d.boss != nil)
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	hurry := make(chan struct{}, 1)
	go sig.serve(reactions{
		stop: func(name string) { stop(fmt.Errorf("%s", name)) }, hurry: hurry,
		child: d.sup.Reap, reload: d.reload, foreground: foreground, terminal: foreground && byHand(), log: d.log,
	})
	err = d.serveInstance(ctx, &hob.ServeOptions{
		Build: version.String(), Logger: d.log, Foreground: foreground,
		Load: d.load, Run: d.run, Heal: d.heal, Stop: d.stop, Handover: d.handover, Hurry: hurry,
		IdleExit: d.boss.idleExit(d.idleExit), Busy: d.sup.Busy,
	})
	if e, ok := errors.AsType[*hob.Error](err); ok && e.Code == "not_spawned" {
		e.Message = "hobd is started by hob, which hands it the lock"
		e.Hint = "call hob instead, or start it in the foreground: hobd --foreground"
	}
	return err
}

// lateStore is the daemon's store, which can't be opened before the lock is held.
type lateStore struct{ d *daemon }

func (l lateStore) Save(st service.Status) error { return l.d.store.Save(st) }
func (l lateStore) Delete(name string) error     { return l.d.store.Delete(name) }

// load reads the state that an earlier daemon left.
func (d *daemon) load(_ context.Context, files map[string]*os.File) (err error) {
	if d.files = files; files != nil {
		d.guard.seen = time.Time{} // it was never away
	}
	if err := supervisor.Prepare(); err != nil {
		return err
	}
	if d.store, err = store.New(d.inst); err != nil {
		return err
	}
	if err := d.directories(); err != nil {
		return err
	}
	if err := d.sweep(); err != nil {
		d.log.Warn("load", "err", err)
	}
	if s, err := store.ReadSettings(d.inst); err != nil {
		d.log.Warn("load", "err", err)
	} else {
		d.settle(s)
	}
	found, bad, err := d.store.Load()
	for _, b := range bad {
		d.log.Warn("load", "err", b)
	}
	d.found = found
	return err
}

// directories makes those that the supervisor writes to.
func (d *daemon) directories() error {
	return inDir(d.inst, true, func(dir *os.File) error {
		for _, name := range []string{instance.LogsName, instance.FIFOName, instance.LocksName, instance.NotifyName, instance.SockName} {
			sub, err := instance.OpenSub(dir, name, true)
			if err != nil {
				return err
			}
			sub.Close()
		}
		return nil
	})
}

// sweep removes the sockets that a hobd was killed before it gave them their names: until then those begin with a dot, as no service's name does.
func (d *daemon) sweep() error {
	return inDir(d.inst, false, func(dir *os.File) error {
		var errs []error
		for _, name := range []string{instance.NotifyName, instance.SockName} {
			sub, err := instance.OpenSub(dir, name, false)
			if err != nil {
				return err
			}
			names, err := instance.Names(sub)
			errs = append(errs, err)
			for _, name := range names {
				if strings.HasPrefix(name, ".") {
					errs = append(errs, instance.Remove(sub, name))
				}
			}
			sub.Close()
		}
		return errors.Join(errs...)
	})
}

// inDir calls f with the instance directory, which is open meanwhile; with create it is made when it is missing.
func inDir(inst instance.Instance, create bool, f func(dir *os.File) error) error {
	state, err := inst.OpenState(create)
	if err != nil {
		return err
	}
	defer state.Close()
	dir, err := inst.OpenDir(state, create)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(dir)
}

// run adopts what still runs.
func (d *daemon) run(ctx context.Context) {
	go d.sig.catchRest()
	fault.Point("daemon.adopting")
	files, old := d.takeOver(ctx)
	if err := d.sup.Adopt(d.found, files); err != nil {
		d.log.Error("adopt", "err", err)
	}
	d.found, d.files = nil, nil
	d.guard.adopted()
	d.upgraded(old)
	close(d.adopted)
	d.boss.ready()
}

// takeOver gives the sockets and terminals of the services that run, and the socket to the sentry of the program that this one was before.
func (d *daemon) takeOver(ctx context.Context) (files map[string]*os.File, old *os.File) {
	if d.files != nil {
		old = d.files[sentryFile]
		delete(d.files, sentryFile)
		return d.files, old
	}
	// Before a sentry of this daemon's own takes its door. Also when this daemon is told to go meanwhile: what it does not
	// take over, the next one will not get.
	files, err := sentry.Collect(context.WithoutCancel(ctx), d.inst.Path(instance.SentryName))
	if err != nil {
		d.log.Error("get what the sentry has kept", "err", err)
	}
	return files, nil
}

// heal writes everything anew after the instance directory was removed.
func (d *daemon) heal() {
	if err := d.directories(); err != nil {
		d.log.Error("make the directories again", "err", err)
		return
	}
	d.sup.Resave()
}

func (d *daemon) stop(ctx context.Context, keep bool) {
	close(d.leaving)
	d.boss.stopping(keep)
	if !keep {
		d.sup.End(ctx)
	}
	d.guard.leave(keep)
	d.sup.Close()
}
