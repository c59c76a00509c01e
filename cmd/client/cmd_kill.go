package client

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

func (a *app) cmdKill() *cobra.Command {
	var signal string
	c := a.verb("kill -s SIGNAL NAME…", "Send a signal to a service's first process", func(ctx context.Context, names []string) error {
		if len(names) == 0 || signal == "" {
			return usage("hob kill -s SIGNAL NAME…", "kill: which signal, to which service?")
		}
		return a.each(ctx, names, ifRunning, func(ctx context.Context, c *hob.Client, name string) (api.Service, error) {
			return one(api.ServiceKill.Call(ctx, c, api.KillParams{Name: name, Signal: signal}))
		})
	})
	c.Flags().StringVarP(&signal, "signal", "s", "", "the `signal`: HUP, SIGHUP or 1")
	c.ValidArgsFunction = a.serviceNames
	return c
}
