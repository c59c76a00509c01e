package client

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
)

// document is api.Document in which an empty list of services is said.
type document struct {
	api.Document
	Services []api.Service `json:"services,omitzero"`
}

// newDocument is about all of those services; names are those that were asked for.
func newDocument(d *api.Daemon, services []api.Service, names []string) document {
	doc := document{Document: api.Document{V: api.V, Daemon: d}, Services: services}
	if doc.Services == nil {
		doc.Services = []api.Service{}
	}
	if len(names) == 1 && len(services) == 1 {
		doc.Service = &services[0]
	}
	return doc
}

// print writes a document, on one line.
func (a *app) print(doc any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

// show prints doc with --json.
func (a *app) show(doc any) error {
	if !a.json {
		return nil
	}
	return a.print(doc)
}

// daemonOf describes the daemon that c is connected to. What takes another question is asked
// for documents only.
func (a *app) daemonOf(ctx context.Context, c *hob.Client) *api.Daemon {
	s := c.Welcome()
	if a.json {
		a.fill(ctx, c, &s)
	}
	return newDaemon(s)
}

// fill asks the daemon about itself. It is only about what is shown besides, so an answer that
// doesn't come is no error.
func (a *app) fill(ctx context.Context, c *hob.Client, s *hob.Status) {
	var asked hob.Status
	if c.Call(ctx, "hob.status", struct{}{}, &asked) == nil {
		*s = asked
	}
}

func newDaemon(s hob.Status) *api.Daemon {
	d := &api.Daemon{State: s.State, Pid: s.Pid, ID: s.ID, Project: s.Project, Socket: s.Socket, Lock: s.Lock, Log: s.Log,
		Version: s.Version, Protocol: s.Protocol, Connections: s.Connections}
	if !s.StartedAt.IsZero() {
		at := s.StartedAt.UTC()
		d.StartedAt = &at
	}
	return d
}

// noDaemon describes the daemon that is not there.
func (a *app) noDaemon(err error) *api.Daemon {
	d := &api.Daemon{State: "absent"}
	var e *hob.Error
	if errors.As(err, &e) && e.Verdict != "" {
		d.State, d.Pid = e.Verdict, e.Pid
	}
	if inst, err := a.instance(); err == nil {
		d.ID, d.Project, d.Lock = inst.ID, inst.Root.Path, inst.LockPath()
		d.Socket, d.Log = inst.Path("hob.sock"), inst.Path("hobd.log")
	}
	return d
}

// fromDisk shows services as they were last written, when no daemon runs.
func fromDisk(disk []service.Status) []api.Service {
	boot, now := store.BootID(), time.Now()
	out := make([]api.Service, 0, len(disk))
	for _, st := range disk {
		switch {
		case mayLive(st, boot):
			st.Why = "as last seen; hobd is not running"
		case st.State.Active():
			st.State, st.Pid, st.Why = service.Stopped, 0, "reboot"
		}
		out = append(out, api.NewService(st, now))
	}
	return out
}
