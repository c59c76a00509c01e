package client

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
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
	return a.oneByOne(ctx, names, always, func(c *hob.Client, name string) (api.Service, error) {
		s, err := one(api.ServiceRemove.Call(ctx, c, api.NamesParams{Names: []string{name}}))
		if err == nil {
			a.say("%s: forgotten", name)
			s.Name = name
		}
		return s, err
	})
}
