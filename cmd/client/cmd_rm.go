package client

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

func (a *app) cmdRm() *cobra.Command {
	c := a.verb("rm NAME…", "Forget services that do not run, with their logs", a.rm)
	c.ValidArgsFunction = a.serviceNames
	return c
}

func (a *app) rm(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return usage("hob rm NAME…", "rm: which service?")
	}
	return a.reach(ctx, names, always, func(c *hob.Client, _ []service.Status) error {
		if len(names) > 1 {
			if _, err := api.ServiceList.Call(ctx, c, api.NamesParams{Names: names}); err != nil {
				return err
			}
		}
		var services []api.Service
		for _, name := range names {
			s, err := one(api.ServiceRemove.Call(ctx, c, api.NamesParams{Names: []string{name}}))
			if err != nil {
				return err
			}
			a.say("%s: forgotten", name)
			s.Name = name
			services = append(services, s)
		}
		return a.show(newDocument(a.daemonOf(ctx, c), services, names))
	})
}
