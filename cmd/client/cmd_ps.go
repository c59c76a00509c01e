package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
)

func (a *app) cmdPs() *cobra.Command {
	c := a.verb("ps [NAME…]", "Show the services, or all that is known of one", a.ps)
	c.Aliases = []string{"status"}
	c.ValidArgsFunction = a.serviceNames
	return c
}

func (a *app) ps(ctx context.Context, names []string) error {
	d, services, err := a.services(ctx, names)
	if err != nil {
		return err
	}
	if a.json {
		return a.print(newDocument(d, services, names))
	}
	if len(names) > 0 {
		return a.details(services)
	}
	if len(services) == 0 {
		a.say("no services; start one with: hob run NAME -- CMD…")
		return nil
	}
	t := serviceTable(services)
	t.color = a.colored()
	return t.write(a.stdout)
}

// services lists services, from hobd or, when none runs, from disk. It starts hobd only when
// something wants to be up that only a daemon can look after.
func (a *app) services(ctx context.Context, names []string) (d *api.Daemon, services []api.Service, err error) {
	list := func(c *hob.Client) error {
		p := api.NamesParams{Names: names}
		if len(names) > 0 {
			p.Env = a.environ()
		}
		r, err := api.ServiceList.Call(ctx, c, p)
		if err == nil {
			d, services = a.daemonOf(ctx, c), r.Services
		}
		return err
	}
	err = a.ask(ctx, a.contact, list)
	if !isAbsent(err) {
		return d, services, err
	}
	_, disk, derr := a.disk()
	if derr != nil {
		return nil, nil, derr
	}
	boot := store.BootID()
	if !a.noSpawn && slices.ContainsFunc(disk, func(st service.Status) bool { return st.Want == service.Up && mayLive(st, boot) }) {
		err = a.ask(ctx, a.dial, list)
		return d, services, err
	}
	if disk, derr = pick(disk, names); derr != nil {
		return nil, nil, derr
	}
	services = fromDisk(disk)
	for i := range names {
		services[i].Detail(disk[i])
	}
	return a.noDaemon(err), services, nil
}

func serviceTable(services []api.Service) *table {
	t := &table{}
	t.row("SERVICE", "STATE", "PID", "UP", "RESTARTS", "CPU", "MEM", "ADDR", "WHY")
	for _, s := range services {
		var up, cpu, mem string
		if s.Pid != 0 {
			up = span(time.Duration(s.UptimeMS) * time.Millisecond)
		}
		if s.RSSBytes > 0 {
			cpu, mem = fmt.Sprintf("%.1f%%", s.CPUPercent), size(s.RSSBytes)
		}
		t.cells(cell{text: s.Name}, cell{s.State, stateStyle(s.State)}, cell{text: number(s.Pid)}, cell{text: up},
			cell{text: strconv.Itoa(s.Restarts)}, cell{text: cpu}, cell{text: mem}, cell{text: s.Addr}, cell{text: why(s)})
	}
	return t
}

// details shows all that is known of each service.
func (a *app) details(services []api.Service) error {
	for i, s := range services {
		if i > 0 {
			if _, err := fmt.Fprintln(a.stdout); err != nil {
				return err
			}
		}
		t := a.detail(s)
		t.color = a.colored()
		if err := t.write(a.stdout); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) detail(s api.Service) *table {
	t := &table{}
	t.row("name", s.Name)
	t.cells(cell{text: "state"}, cell{s.State, stateStyle(s.State)})
	t.row("want", s.Want)
	optional(t, "why", s.Why)
	optional(t, "not saved", s.Unsaved)
	optional(t, "pid", number(s.Pid))
	optional(t, "tree", join(s.Pids, " "))
	optional(t, "needs", strings.Join(s.Needs, " "))
	optional(t, "address", s.Addr)
	if s.IdleMS > 0 {
		t.row("idle", "stopped when nobody has needed it for "+(time.Duration(s.IdleMS)*time.Millisecond).String())
	}
	if len(s.Leases) > 0 {
		t.row("held by", processes(s.Leases))
	}
	if s.TTY {
		t.row("terminal", "hob attach "+s.Name)
	}
	if s.StartedAt != nil {
		t.row("started", ago(*s.StartedAt))
	}
	if s.ReadyAt != nil {
		t.row("ready", ago(*s.ReadyAt))
	}
	if s.RSSBytes > 0 {
		t.row("memory", size(s.RSSBytes))
		t.row("cpu", fmt.Sprintf("%.1f%%", s.CPUPercent))
	}
	t.row("restarts", strconv.Itoa(s.Restarts))
	t.row("restart", s.Restart)
	t.row("generation", strconv.Itoa(s.Generation))
	t.row("adopted", strconv.Itoa(s.Adopted))
	t.row("command", quote(s.Cmd))
	t.row("directory", s.Dir)
	t.row("source", s.Source)
	if s.EnvAt != nil {
		t.row("environment", "of the client that started it, "+ago(*s.EnvAt))
	}
	if len(s.EnvSet) > 0 {
		t.row("set by "+s.Source, strings.Join(s.EnvSet, " "))
	}
	if len(s.EnvDrift) > 0 {
		t.row("drift", "differs from yours in "+strings.Join(s.EnvDrift, " "))
	}
	exits := s.Exits
	if len(exits) == 0 && s.Exit != nil {
		exits = []api.Exit{*s.Exit}
	}
	for i, x := range slices.Backward(exits) {
		name := "exits"
		if i == len(exits)-1 {
			name = "last exit"
		}
		t.row(name, x.String()+" at "+ago(x.At))
	}
	if inst, err := a.instance(); err == nil {
		t.row("log", inst.Path("log", s.Name))
	}
	if s.LogLost > 0 {
		t.row("log lost", size(s.LogLost))
	}
	return t
}

func optional(t *table, name, value string) {
	if value != "" {
		t.row(name, value)
	}
}
