package client

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

func (a *app) cmdDown() *cobra.Command {
	return a.verb("down", "Stop every service, then hobd", none(a.down))
}

// down is done again when the daemon went away before it answered, as its own sentry or somebody's restart can have it: what was
// done is not done twice.
func (a *app) down(ctx context.Context) error {
	var d downed
	for try := 1; ; try++ {
		err := a.reach(ctx, nil, ifRunning, func(c *hob.Client, _ []service.Status) error { return a.downWith(ctx, c, &d) })
		if !isCode(err, codeLost) || try == drainTries {
			return err
		}
	}
}

// downed is what a down has done so far.
type downed struct {
	daemon   *api.Daemon // the last one that was asked to leave; nil: none
	services []api.Service
}

// downWith stops all that c runs, and then c.
func (a *app) downWith(ctx context.Context, c *hob.Client, d *downed) error {
	if c != nil {
		before, err := api.ServiceList.Call(ctx, c, api.NamesParams{})
		if err != nil {
			return err
		}
		r, err := api.ProjectDown.Call(ctx, c, api.None{})
		if err != nil {
			return err
		}
		a.sayStopped(before.Services, r.Services)
		d.daemon, d.services = a.daemonOf(ctx, c), r.Services
		if err := c.Stop(ctx, false); err != nil {
			return err
		}
	}
	if d.daemon != nil {
		a.say("hobd: stopped (pid %d)", d.daemon.Pid)
		return a.show(newDocument(gone(d.daemon), d.services, nil))
	}
	a.say("nothing is running")
	if !a.json {
		return nil
	}
	return a.print(newDocument(a.noDaemon(nil), nil, nil))
}

// sayStopped names the services that are not any more what they were.
func (a *app) sayStopped(before, after []api.Service) {
	was := map[string]string{}
	for _, s := range before {
		was[s.Name] = s.State
	}
	for _, s := range after {
		if was[s.Name] != s.State {
			a.say("%s: %s", s.Name, outcome(s))
		}
	}
}

// gone describes a daemon that has left.
func gone(d *api.Daemon) *api.Daemon {
	return &api.Daemon{State: "absent", ID: d.ID, Project: d.Project, Socket: d.Socket, Lock: d.Lock, Log: d.Log}
}
