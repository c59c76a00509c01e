package client

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

func (a *app) cmdStart() *cobra.Command {
	c := a.verb("start NAME…", "Start services that are stopped, with the environment they had", func(ctx context.Context, names []string) error {
		if len(names) == 0 {
			return usage("hob start NAME…", "start: which service?")
		}
		return a.each(ctx, names, always, func(ctx context.Context, c *hob.Client, name string) (api.Service, error) {
			return one(api.ServiceStart.Call(ctx, c, api.NamesParams{Names: []string{name}, Env: os.Environ()}))
		})
	})
	c.ValidArgsFunction = a.serviceNames
	return c
}

func (a *app) cmdRestart() *cobra.Command {
	c := a.verb("restart NAME…", "Stop and start services, with the environment of now", func(ctx context.Context, names []string) error {
		if len(names) == 0 {
			return usage("hob restart NAME…", "restart: which service?")
		}
		return a.each(ctx, names, always, func(ctx context.Context, c *hob.Client, name string) (api.Service, error) {
			return one(api.ServiceRestart.Call(ctx, c, api.NamesParams{Names: []string{name}, Env: os.Environ()}))
		})
	})
	c.ValidArgsFunction = a.serviceNames
	return c
}

// one is the only service of a result.
func one(r api.ServicesResult, err error) (api.Service, error) {
	if err != nil || len(r.Services) == 0 {
		return api.Service{}, err
	}
	return r.Services[0], nil
}

// each does something to every service, by hobd, one after the other, and says a line about each.
// With an unknown name among them it does nothing.
func (a *app) each(ctx context.Context, names []string, n need,
	do func(ctx context.Context, c *hob.Client, name string) (api.Service, error)) error {
	return a.reach(ctx, names, n, func(c *hob.Client, disk []service.Status) error {
		if c == nil {
			return a.notRunning(disk, names)
		}
		if len(names) > 1 {
			if _, err := api.ServiceList.Call(ctx, c, api.NamesParams{Names: names}); err != nil {
				return err
			}
		}
		var services []api.Service
		for _, name := range names {
			s, err := do(ctx, c, name)
			if err != nil {
				return a.withLastWords(name, err)
			}
			a.say("%s: %s", name, outcome(s))
			services = append(services, s)
		}
		return a.show(newDocument(a.daemonOf(ctx, c), services, names))
	})
}

// notRunning is the error for a verb that makes no sense for a service that isn't running.
func (a *app) notRunning(disk []service.Status, names []string) error {
	s := fromDisk(disk)[0]
	return &hob.Error{Code: api.CodeNotRunning, Message: "service \"" + names[0] + "\" is not running: " + outcome(s)}
}
