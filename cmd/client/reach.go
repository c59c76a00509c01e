package client

import (
	"context"
	"errors"
	"slices"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
	"github.com/hobworks/hob/internal/version"
)

// dialer is dial or contact.
type dialer func(ctx context.Context) (*hob.Client, error)

// dial connects to hobd and starts it when there is none, unless --no-spawn.
func (a *app) dial(ctx context.Context) (*hob.Client, error) {
	if a.noSpawn {
		return a.contact(ctx)
	}
	root, err := a.project()
	if err != nil {
		return nil, err
	}
	program := daemonProgram()
	a.note("hobd for %s: %s", root.Path, program)
	c, err := hob.Dial(ctx, hob.Instance{Dir: root.Path, Command: []string{program, "--project", root.Path}}, &hob.DialOptions{
		Client: "hob", Build: version.String(), Notify: a.notify,
		Progress: func(stage string) { a.note("hobd is starting: %s", stage) },
	})
	if err == nil {
		a.remark(c)
	}
	return c, err
}

// contact connects to hobd if it runs, and leaves it free to go; else the error's code is
// "not_running".
func (a *app) contact(ctx context.Context) (*hob.Client, error) {
	root, err := a.project()
	if err != nil {
		return nil, err
	}
	c, err := hob.Dial(ctx, hob.Instance{Dir: root.Path},
		&hob.DialOptions{Client: "hob", Build: version.String(), Notify: a.notify, NoSpawn: true, NoLease: true})
	var e *hob.Error
	if errors.As(err, &e) && e.Code == api.CodeNotRunning && e.Hint == "" {
		e.Hint = "start it with \"hob daemon start\""
	}
	return c, err
}

// codeLost is of a call whose daemon went away before it answered.
const codeLost = "lost"

// drainTries is how many daemons may be leaving one after the other.
const drainTries = 5

// with connects and calls f. A daemon that says it is leaving has done nothing, so f is called
// again, with the next one.
func (a *app) with(ctx context.Context, dial dialer, f func(*hob.Client) error) error {
	return repeat(ctx, dial, f, api.CodeDraining)
}

// ask is with for an f that only asks: it is called again, too, when the daemon went away before it answered.
func (a *app) ask(ctx context.Context, dial dialer, f func(*hob.Client) error) error {
	return repeat(ctx, dial, f, api.CodeDraining, codeLost)
}

// repeat calls f as long as it ends with one of these codes, drainTries times at most.
func repeat(ctx context.Context, dial dialer, f func(*hob.Client) error, codes ...string) error {
	for try := 1; ; try++ {
		c, err := dial(ctx)
		if err != nil {
			return err
		}
		err = f(c)
		_ = c.Close()
		if try == drainTries || !slices.ContainsFunc(codes, func(code string) bool { return isCode(err, code) }) {
			return err
		}
	}
}

// need says what a verb needs a daemon for.
type need bool

const (
	always    need = true
	ifRunning need = false // only for services that may run
)

// reach calls f with hobd where one is there or needed for the services, and otherwise with nil and what
// is on disk. A service that the disk says is running, in this boot, needs one: it may live, and
// only a daemon can tell. Without a daemon, names that the disk doesn't know are an error.
func (a *app) reach(ctx context.Context, names []string, n need, f func(c *hob.Client, disk []service.Status) error) error {
	asked := func(c *hob.Client) error { return f(c, nil) }
	err := a.with(ctx, a.contact, asked)
	if !isAbsent(err) {
		return err
	}
	_, disk, derr := a.disk()
	if derr != nil {
		return derr
	}
	if disk, derr = pick(disk, names); derr != nil {
		return derr
	}
	if n == always || anyMayLive(disk) {
		if a.noSpawn {
			return err
		}
		return a.with(ctx, a.dial, asked)
	}
	return f(nil, disk)
}

// isAbsent reports that no daemon runs, as opposed to a daemon's answer that a service doesn't.
func isAbsent(err error) bool {
	var e *hob.Error
	return errors.As(err, &e) && e.Code == api.CodeNotRunning && e.Verdict != ""
}

// isUnreachable reports that a daemon is there, or could not be started, and does not answer: the error says why.
func isUnreachable(err error) bool {
	var e *hob.Error
	return errors.As(err, &e) && e.Verdict != "" && !slices.Contains([]string{api.CodeNotRunning, api.CodeDraining, codeLost}, e.Code)
}

// pick gives the services of those names, or all.
func pick(all []service.Status, names []string) ([]service.Status, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []service.Status
	for _, name := range names {
		i := slices.IndexFunc(all, func(st service.Status) bool { return st.Name == name })
		if i < 0 {
			return nil, noSuchService(name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// someMayLive reports whether the disk says that of a service, or can't be read.
func (a *app) someMayLive() bool {
	_, disk, err := a.disk()
	return err != nil || anyMayLive(disk)
}

func anyMayLive(all []service.Status) bool {
	boot := store.BootID()
	return slices.ContainsFunc(all, func(st service.Status) bool { return mayLive(st, boot) })
}

// mayLive reports whether a process of the service can exist, or is to be started, by a connection too, although no daemon does.
func mayLive(st service.Status, boot string) bool {
	return st.State.Active() && st.Boot == boot && boot != ""
}
