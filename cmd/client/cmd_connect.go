package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

const connectForm = "hob connect NAME, or hob connect [NAME] -- CMD…"

func (a *app) cmdConnect() *cobra.Command {
	o := &declaration{}
	c := a.demandVerb("connect NAME | [NAME] [flags] -- CMD…", "Join stdin and stdout to a service's socket", o,
		func(ctx context.Context, args []string, dash int) error { return a.connect(ctx, args, dash, *o) })
	c.Example = `  hob connect db
  hob connect --idle 5m -- ./server            # takes its socket by LISTEN_FDS
  hob connect gopls --proxy --idle 5m -- sh -c 'exec gopls serve -listen=127.0.0.1:$PORT'`
	return c
}

// connect starts the service if need be and joins it. hobd is not in the data path.
func (a *app) connect(ctx context.Context, args []string, dash int, o declaration) error {
	name, where, err := a.reachService(ctx, connectForm, args, dash, o, true)
	if err != nil {
		return err
	}
	end, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sock, err := dialService(end, where)
	if err != nil {
		return err
	}
	// The lease is for a service that hobd can't count the connections of.
	go func() { _ = a.keepHeld(end, []string{name}, func() {}) }()
	var heard atomic.Bool
	go func() {
		if err := a.failure(end, name); err != nil && !heard.Load() {
			cancel(err) // nobody will ever accept
		}
	}()
	err = bridge(end, sock, int(os.Stdin.Fd()), int(os.Stdout.Fd()), func() { heard.Store(true) })
	if cause := context.Cause(end); cause != nil && !errors.Is(cause, context.Canceled) {
		return a.withLastWords(name, cause)
	}
	return err
}

// dialService connects to an address and gives the descriptor, which is the caller's.
func dialService(ctx context.Context, to api.AddressResult) (int, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, to.Network, to.Address)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	f, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// failurePoll is how often a service is looked at that is not running while somebody waits for it.
const failurePoll = 200 * time.Millisecond

// failure returns the reason when the service has failed for good, and nil when ctx ends before.
func (a *app) failure(ctx context.Context, name string) error {
	for {
		_, err := a.waitExit(ctx, a.contact, name)
		var now api.ServicesResult
		if err == nil {
			err = a.ask(ctx, a.contact, func(c *hob.Client) (err error) {
				now, err = api.ServiceList.Call(ctx, c, api.NamesParams{Names: []string{name}})
				return err
			})
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && len(now.Services) == 1 && now.Services[0].State == string(service.Failed):
			return &hob.Error{Code: api.CodeStartFailed, Message: fmt.Sprintf("service %q: %s", name, now.Services[0].Why), Hint: "see \"hob logs " + name + "\""}
		case isCode(err, api.CodeNoSuchService):
			return err
		}
		if !pause(ctx, failurePoll) {
			return nil
		}
	}
}
