package client

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

func (a *app) cmdWait() *cobra.Command {
	var what string
	c := a.verb("wait NAME [--for ready|exit|log:RE]", "Wait for a service", func(ctx context.Context, args []string) error {
		return a.wait(ctx, args, what)
	})
	c.Example = `  hob wait web --timeout 30s
  hob wait web --for 'log:listening on'
  hob wait job --for exit`
	c.Flags().StringVar(&what, "for", "ready", "`what`: ready, exit (and its exit status becomes hob's), or log:RE, a line that matches")
	c.ValidArgsFunction = a.serviceNames
	return c
}

func (a *app) wait(ctx context.Context, args []string, what string) error {
	if len(args) != 1 {
		return usage("hob wait NAME [--for ready|exit|log:RE]", "wait: for exactly one service")
	}
	kind, expr, colon := strings.Cut(what, ":")
	if colon != (kind == "log") || kind != "ready" && kind != "exit" && kind != "log" {
		return usage("--for ready, --for exit or --for log:RE", "wait for %q: not something to wait for", what)
	}
	if _, err := regexp.Compile(expr); err != nil {
		return usage("", "wait: %v", err)
	}
	n := ifRunning
	if kind == "log" {
		n = always // hobd looks through the log
	}
	for {
		err := a.waitOnce(ctx, args, n, what, kind, expr)
		// A daemon that went away was only looking: the next one can be asked the same.
		if !isCode(err, codeLost) && !isCode(err, api.CodeDraining) || !pause(ctx, 10*time.Millisecond) {
			return err
		}
	}
}

// waitOnce waits as long as one daemon lives.
func (a *app) waitOnce(ctx context.Context, args []string, n need, what, kind, expr string) error {
	return a.reach(ctx, args, n, func(c *hob.Client, disk []service.Status) error {
		if c == nil {
			return a.waitForNothing(disk, args, kind)
		}
		s, err := one(api.ServiceWait.Call(ctx, c, api.WaitParams{Name: args[0], For: what}))
		if isCode(err, api.CodeTimeout) {
			return &hob.Error{Code: api.CodeTimeout, Err: err, Message: a.waitedInVain(args[0], kind, expr)}
		}
		if err != nil {
			return err
		}
		return a.waited(a.daemonOf(ctx, c), s, kind)
	})
}

func (a *app) waitedInVain(name, kind, expr string) string {
	switch kind {
	case "exit":
		return fmt.Sprintf("service %q: it has not ended in %v", name, a.timeout)
	case "log":
		return fmt.Sprintf("service %q: no line matched %q in %v", name, expr, a.timeout)
	}
	return fmt.Sprintf("service %q: not ready in %v", name, a.timeout)
}

// waitForNothing is for a service that doesn't run, and nobody starts it while hob waits.
func (a *app) waitForNothing(disk []service.Status, names []string, kind string) error {
	if kind == "ready" && disk[0].State != service.Done {
		return notRunning(disk[0])
	}
	return a.waited(a.noDaemon(nil), fromDisk(disk)[0], kind)
}

func (a *app) waited(d *api.Daemon, s api.Service, kind string) error {
	a.say("%s: %s", s.Name, outcome(s))
	if err := a.show(newDocument(d, []api.Service{s}, []string{s.Name})); err != nil {
		return err
	}
	if kind == "exit" && s.Exit != nil && s.Exit.Code > 0 {
		return status(s.Exit.Code)
	}
	if kind == "exit" && (s.Exit != nil && s.Exit.Code < 0 || s.Exit == nil && s.State == string(service.Failed)) {
		return status(exitFailed)
	}
	return nil
}
