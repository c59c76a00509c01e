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

func (a *app) down(ctx context.Context) error {
	return a.reach(ctx, nil, ifRunning, func(c *hob.Client, _ []service.Status) error {
		if c == nil {
			a.say("nothing is running")
			if !a.json {
				return nil
			}
			return a.print(newDocument(a.noDaemon(nil), nil, nil))
		}
		before, err := api.ServiceList.Call(ctx, c, api.NamesParams{})
		if err != nil {
			return err
		}
		r, err := api.ProjectDown.Call(ctx, c, api.None{})
		if err != nil {
			return err
		}
		a.sayStopped(before.Services, r.Services)
		d := a.daemonOf(ctx, c)
		if err := c.Stop(ctx, false); err != nil {
			return err
		}
		a.say("hobd: stopped (pid %d)", d.Pid)
		return a.show(newDocument(gone(d), r.Services, nil))
	})
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
