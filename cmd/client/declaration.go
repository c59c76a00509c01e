package client

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

// declaration is how a command that is made a service is reached.
type declaration struct {
	listen string
	proxy  bool
	to     string
	find   bool
	idle   time.Duration
}

// autoListen has hobd choose a Unix socket.
const autoListen = "auto"

func (o *declaration) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.listen, "listen", "", "the socket that hobd holds for the command: host:port or unix:PATH (`address`)")
	f.BoolVar(&o.proxy, "proxy", false, "the command can't take a socket: hobd forwards to the port that it gives as $PORT")
	f.StringVar(&o.to, "to", "", "with --proxy: the `address` that the command listens on by itself")
	f.BoolVar(&o.find, "find", false, "the command listens by itself, and where is found out")
	f.DurationVar(&o.idle, "idle", 0, "stop it after this `time` without a connection to its socket and without \"hob hold\"; the next one starts it again")
}

// check says what of it was typed wrong.
func (o declaration) check(verb string) error {
	switch {
	case !utf8.ValidString(o.listen + o.to):
		return usage("", "%s: the address %q is not UTF-8", verb, o.listen+o.to)
	case o.to != "" && !o.proxy:
		return usage("", "%s: --to is for --proxy", verb)
	case o.find && (o.listen != "" || o.proxy || o.idle != 0):
		return usage("", "%s: --find is for a command that listens by itself; --listen, --proxy and --idle are not", verb)
	case o.idle < 0 || o.idle > 0 && o.idle < time.Millisecond:
		return usage("", "%s: --idle %v: not a time to wait", verb, o.idle)
	}
	return nil
}

// given reports whether anything was said about how it is reached.
func (o declaration) given() bool { return o != declaration{} }

// apply puts it into what hobd is asked.
func (o declaration) apply(p *api.RunParams) {
	p.Listen, p.Proxy, p.To, p.Find, p.IdleMS = o.listen, o.proxy, o.to, o.find, o.idle.Milliseconds()
	if p.Proxy && p.Listen == "" {
		p.Listen = autoListen
	}
}

// demandVerb makes a verb that takes the name of a service, or a command that is to be one.
func (a *app) demandVerb(use, short string, o *declaration, do func(ctx context.Context, args []string, dash int) error) *cobra.Command {
	dash := -1
	c := a.verb(use, short, func(ctx context.Context, args []string) error { return do(ctx, args, dash) })
	o.flags(c)
	c.ValidArgsFunction = a.serviceNames
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		dash = c.ArgsLenAtDash()
		return run(c, args)
	}
	return c
}

// reachService sees to it that a service is there to be connected to, and says where; with start, that it runs. The
// service is one that is known, or the command behind "--".
func (a *app) reachService(ctx context.Context, form string, args []string, dash int, o declaration, start bool) (name string, where api.AddressResult, err error) {
	verb, _, _ := strings.Cut(strings.TrimPrefix(form, "hob "), " ")
	if err := o.check(verb); err != nil {
		return "", where, err
	}
	var run *api.RunParams
	switch {
	case dash >= 0:
		p, err := a.runParams(args, dash, runFlags{}, verb)
		if err != nil {
			return "", where, err
		}
		if o.apply(&p); p.Listen == "" && !p.Find {
			p.Listen = autoListen
		}
		p.Lazy = true
		name, run = p.Name, &p
	case len(args) != 1:
		return "", where, usage(form, "%s: exactly one service", verb)
	case o.given():
		return "", where, usage(form, "%s: flags are for a command; %q has its own in hob.toml", verb, args[0])
	default:
		name = args[0]
	}
	err = a.with(ctx, a.dial, func(c *hob.Client) (err error) {
		if run != nil {
			if _, err = api.ServiceRun.Call(ctx, c, *run); err != nil {
				return err
			}
		}
		where, err = api.ServiceAddress.Call(ctx, c, api.AddressParams{Name: name, Start: start, Env: a.environ(), Color: a.colored()})
		return err
	})
	if err != nil {
		return name, where, a.withLastWords(name, err)
	}
	return name, where, nil
}
