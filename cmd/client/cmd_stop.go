package client

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

func (a *app) cmdStop() *cobra.Command {
	c := a.verb("stop NAME…", "Stop services with all their processes", a.stop)
	c.ValidArgsFunction = a.serviceNames
	return c
}

func (a *app) stop(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return usage("hob stop NAME…; everything: hob down", "stop: which service?")
	}
	return a.reach(ctx, names, ifRunning, func(c *hob.Client, disk []service.Status) error {
		if c == nil {
			return a.stopNothing(disk, names)
		}
		before, err := api.ServiceList.Call(ctx, c, api.NamesParams{Names: names})
		if err != nil {
			return err
		}
		r, err := api.ServiceStop.Call(ctx, c, api.NamesParams{Names: names})
		if err != nil {
			return err
		}
		for i, name := range names {
			s := &r.Services[i]
			if was := before.Services[i].State; s.State == was && !service.State(was).Alive() {
				s.Killed = nil // by the stop before this one
				a.say("%s: not running", name)
			} else {
				a.say("%s: %s", name, outcome(*s))
			}
		}
		return a.show(newDocument(a.daemonOf(ctx, c), r.Services, names))
	})
}

// stopNothing is for services that were stopped before.
func (a *app) stopNothing(disk []service.Status, names []string) error {
	for _, st := range disk {
		a.say("%s: not running", st.Name)
	}
	if !a.json {
		return nil
	}
	return a.print(newDocument(a.noDaemon(nil), fromDisk(disk), names))
}
