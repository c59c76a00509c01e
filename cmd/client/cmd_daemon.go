package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

func (a *app) cmdDaemon() *cobra.Command {
	c := &cobra.Command{
		Use: "daemon", Short: "The project's hobd itself: status, start, stop, restart, upgrade, log, ping", DisableFlagsInUseLine: true,
		Args:              func(c *cobra.Command, args []string) error { return unknown(c, args, "hob daemon status") },
		RunE:              func(*cobra.Command, []string) error { return nil },
		ValidArgsFunction: nothing,
	}
	c.AddCommand(
		a.verb("status", "Say whether hobd runs, and where its files are", none(a.daemonStatus)),
		a.verb("start", "Start hobd if it does not run", none(a.daemonStart)),
		a.verb("stop", "Stop every service and hobd", none(a.daemonStop)),
		a.cmdDaemonRestart(),
		a.verb("upgrade", "Have hobd become the one beside this hob, in place", none(a.daemonUpgrade)),
		a.cmdDaemonLog(),
		a.verb("ping", "Ask hobd for a sign of life", none(a.daemonPing)),
	)
	return c
}

func (a *app) cmdDaemonRestart() *cobra.Command {
	var force bool
	c := a.verb("restart [--force]", "Replace hobd and leave the services running",
		none(func(ctx context.Context) error { return a.daemonRestart(ctx, force) }))
	c.Flags().BoolVar(&force, "force", false, "also one that does not answer: ask, then SIGQUIT, then SIGKILL")
	return c
}

type daemonDocument struct {
	V      int         `json:"v"`
	Daemon *api.Daemon `json:"daemon"`
}

func (a *app) daemonStatus(ctx context.Context) error {
	root, err := a.project()
	if err != nil {
		return err
	}
	s, err := hob.Probe(ctx, hob.Instance{Dir: root.Path})
	var e *hob.Error
	if err != nil && (!errors.As(err, &e) || e.Verdict == "") {
		return err // not about the daemon
	}
	if err == nil {
		if c, err := a.contact(ctx); err == nil {
			a.fill(ctx, c, &s)
			_ = c.Close()
		}
	}
	d := newDaemon(s)
	if a.json {
		if err := a.print(daemonDocument{api.V, d}); err != nil {
			return err
		}
		return statusOf(err)
	}
	t := daemonTable(d)
	t.color = a.colored()
	if werr := t.write(a.stdout); werr != nil {
		return werr
	}
	if isCode(err, api.CodeNotRunning) {
		return statusOf(err)
	}
	return err
}

// statusOf is the exit status of an error that the output has told.
func statusOf(err error) error {
	switch {
	case err == nil:
		return nil
	case isCode(err, api.CodeNotRunning):
		return status(exitNotRunning)
	}
	return status(exitFailed)
}

func daemonTable(d *api.Daemon) *table {
	t := &table{}
	t.cells(cell{text: "state"}, cell{d.State, stateStyle(d.State)})
	optional(t, "pid", number(d.Pid))
	optional(t, "project", d.Project)
	optional(t, "id", d.ID)
	optional(t, "socket", d.Socket)
	optional(t, "lock", d.Lock)
	optional(t, "log", d.Log)
	optional(t, "version", d.Version)
	optional(t, "protocol", number(d.Protocol))
	if d.StartedAt != nil {
		t.row("started", ago(*d.StartedAt))
		t.row("connections", strconv.Itoa(d.Connections))
	}
	return t
}

func (a *app) daemonPing(ctx context.Context) error {
	began := time.Now()
	c, err := a.contact(ctx)
	took := time.Since(began)
	if isCode(err, api.CodeNotRunning) && a.json {
		if err := a.print(daemonDocument{api.V, a.noDaemon(err)}); err != nil {
			return err
		}
		return status(exitNotRunning)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if a.json {
		return a.print(daemonDocument{api.V, a.daemonOf(ctx, c)})
	}
	_, err = fmt.Fprintf(a.stdout, "pong: pid %d, %.1f ms\n", c.Welcome().Pid, float64(took)/float64(time.Millisecond))
	return err
}

func (a *app) daemonStart(ctx context.Context) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	d := a.daemonOf(ctx, c)
	a.say("hobd is running (pid %d)", d.Pid)
	return a.show(daemonDocument{api.V, d})
}

func (a *app) daemonStop(ctx context.Context) error {
	var d *api.Daemon
	var stopped error
	err := a.ask(ctx, a.contact, func(c *hob.Client) error {
		d = newDaemon(c.Welcome())
		stopped = c.Stop(ctx, false)
		return stopped
	})
	absent := isCode(err, api.CodeNotRunning)
	switch {
	case absent && d == nil:
		a.say("hobd is not running")
		if !a.json {
			return nil
		}
		return a.print(daemonDocument{api.V, a.noDaemon(err)})
	case absent && a.someMayLive(): // it went away before it answered, and has stopped nothing
		return stopped
	case err != nil && !absent:
		return err
	}
	a.say("hobd: stopped (pid %d)", d.Pid)
	return a.show(daemonDocument{api.V, gone(d)})
}

func (a *app) daemonRestart(ctx context.Context, force bool) error {
	if a.noSpawn {
		return usage("", "daemon restart: --no-spawn forbids it")
	}
	if err := a.retire(ctx, force); err != nil {
		return err
	}
	return a.daemonStart(ctx)
}

// retire makes hobd leave and keep what runs. One that doesn't run has left.
func (a *app) retire(ctx context.Context, force bool) error {
	if force {
		root, err := a.project()
		if err != nil {
			return err
		}
		return hob.Evict(ctx, hob.Instance{Dir: root.Path})
	}
	err := a.ask(ctx, a.contact, func(c *hob.Client) error { return c.Stop(ctx, true) })
	if isCode(err, api.CodeNotRunning) {
		return nil
	}
	return err
}
