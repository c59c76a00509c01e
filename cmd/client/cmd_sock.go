package client

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

const sockForm = "hob sock NAME, or hob sock [NAME] -- CMD…"

func (a *app) cmdSock() *cobra.Command {
	o := &declaration{}
	c := a.demandVerb("sock NAME | [NAME] [flags] -- CMD…", "Print the address of a service's socket", o,
		func(ctx context.Context, args []string, dash int) error { return a.sock(ctx, args, dash, *o) })
	c.Example = `  hob sock db
  curl --unix-socket "$(hob sock web -- ./server | sed s/unix://)" http://localhost/
  hob sock --listen 127.0.0.1:8080 --idle 10m -- ./server`
	return c
}

// sock prints where a service is reached. What is not running yet is started by whoever connects.
func (a *app) sock(ctx context.Context, args []string, dash int, o declaration) error {
	name, where, err := a.reachService(ctx, sockForm, args, dash, o, false)
	if err != nil {
		return err
	}
	if a.json {
		return a.print(api.SockDocument{V: api.V, Service: name, Network: where.Network, Address: where.Address})
	}
	_, err = fmt.Fprintln(a.stdout, service.Address{Network: where.Network, Addr: where.Address})
	return err
}
