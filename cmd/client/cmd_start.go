package client

import (
	"context"

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
			return one(api.ServiceStart.Call(ctx, c, api.NamesParams{Names: []string{name}, Env: a.environ()}))
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
			return one(api.ServiceRestart.Call(ctx, c, api.NamesParams{Names: []string{name}, Env: a.environ()}))
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
func (a *app) each(ctx context.Context, names []string, n need,
	do func(ctx context.Context, c *hob.Client, name string) (api.Service, error)) error {
	return a.oneByOne(ctx, names, n, func(c *hob.Client, name string) (api.Service, error) {
		s, err := do(ctx, c, name)
		if err != nil {
			return s, a.withLastWords(name, err)
		}
		a.say("%s: %s", name, outcome(s))
		return s, nil
	})
}

// oneByOne calls f for one service after the other; with an unknown name among them it does nothing. Each is reached by itself: a
// daemon that leaves between two must not have the first one done again.
func (a *app) oneByOne(ctx context.Context, names []string, n need, f func(c *hob.Client, name string) (api.Service, error)) error {
	if len(names) > 1 {
		err := a.reach(ctx, names, n, func(c *hob.Client, _ []service.Status) error {
			if c == nil {
				return nil // reach knows them
			}
			_, err := api.ServiceList.Call(ctx, c, api.NamesParams{Names: names})
			return err
		})
		if err != nil {
			return err
		}
	}
	var d *api.Daemon
	var services []api.Service
	for _, name := range names {
		err := a.reach(ctx, []string{name}, n, func(c *hob.Client, disk []service.Status) error {
			if c == nil {
				return notRunning(disk[0])
			}
			s, err := f(c, name)
			if err == nil {
				services, d = append(services, s), a.daemonOf(ctx, c)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return a.show(newDocument(d, services, names))
}

// notRunning is the error for a verb that makes no sense for a service that isn't running.
func notRunning(st service.Status) error {
	s := fromDisk([]service.Status{st})[0]
	return &hob.Error{Code: api.CodeNotRunning, Message: "service \"" + s.Name + "\" is not running: " + outcome(s)}
}
