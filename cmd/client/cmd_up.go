package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

// upFlags are those of up.
type upFlags struct {
	follow, noWait bool
}

func (a *app) cmdUp() *cobra.Command {
	var o upFlags
	c := a.verb("up [NAME…] [-f] [--no-wait]", "Start the services of hob.toml, each when what it needs is ready", func(ctx context.Context, names []string) error {
		return a.up(ctx, names, o)
	})
	c.Long = `Start the services of hob.toml (or Procfile), each when what it needs is ready, and return when all
are. The file is read anew: what is different in it is applied, and what is not is left alone.`
	c.Example = `  hob up
  hob up api
  hob up -f`
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "then show what they write, until Ctrl-C; they go on")
	c.Flags().BoolVar(&o.noWait, "no-wait", false, "return as soon as they are executed")
	c.ValidArgsFunction = a.serviceNames
	return c
}

func (a *app) up(ctx context.Context, names []string, o upFlags) error {
	if o.follow && a.json {
		return usage("hob up --json; hob logs -f --json", "up: --json with -f: not one document")
	}
	p := &progress{app: a, began: map[string]time.Time{}}
	a.notify = p.notified
	var d *api.Daemon
	var r api.UpResult
	err := a.with(ctx, a.dial, func(c *hob.Client) (err error) {
		r, err = api.ProjectUp.Call(ctx, c, api.UpParams{Names: names, Env: a.environ(), Color: a.colored(),
			NoWait: o.noWait, Progress: true})
		if err == nil {
			d = a.daemonOf(ctx, c)
		}
		return err
	})
	if err != nil {
		if answered(err, api.CodeTimeout) {
			err = &hob.Error{Code: api.CodeTimeout, Err: err, Message: fmt.Sprintf("up: not everything is up in %v%s", a.timeout, p.open()),
				Hint: "they go on; see \"hob ps\""}
		}
		return err
	}
	for _, note := range r.Notes {
		a.say("hob: note: %s", note)
	}
	if len(r.Failed) > 0 {
		return a.upFailed(r)
	}
	if len(r.Services) == 0 {
		a.say("nothing to start")
	}
	p.rest(r.Services)
	if err := a.show(newDocument(d, r.Services, names)); err != nil || !o.follow {
		return err
	}
	started := make([]string, len(r.Services))
	for i, s := range r.Services {
		started[i] = s.Name
	}
	return a.logs(ctx, started, logFlags{follow: true, lines: defaultLines})
}

// upFailed says which failed, why, and what they said last.
func (a *app) upFailed(r api.UpResult) error {
	failed := map[string]bool{}
	for _, name := range r.Failed {
		failed[name] = true
	}
	var why []string
	for _, s := range r.Services {
		if failed[s.Name] {
			why = append(why, fmt.Sprintf("service %q: %s", s.Name, reason(s)))
			if a.justEnded(s) && s.StartedAt != nil && !s.StartedAt.Before(a.began) { // it may be the run that was replaced
				a.lastWords(s)
			}
		}
	}
	return &hob.Error{Code: api.CodeStartFailed, Message: strings.Join(why, "; "), Hint: "see \"hob logs " + r.Failed[0] + "\""}
}

// reason is why a service is down.
func reason(s api.Service) string {
	if s.Why != "" {
		return s.Why
	}
	return s.State
}

// progress tells a person what happens to the services while up waits for them.
type progress struct {
	*app

	mu    sync.Mutex // guards all below: notifications come on the connection's goroutine
	began map[string]time.Time
	last  map[string]string
	order []string
}

// notified takes a notification of hobd.
func (p *progress) notified(method string, params json.RawMessage) {
	var ev api.Event
	if method != api.ServiceEvent || json.Unmarshal(params, &ev) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.event(ev)
}

func (p *progress) event(ev api.Event) {
	if _, known := p.began[ev.Service]; !known {
		p.began[ev.Service] = ev.Time
		p.order = append(p.order, ev.Service)
	}
	if p.last == nil {
		p.last = map[string]string{}
	}
	line := p.line(ev)
	if p.last[ev.Service] == line {
		return
	}
	p.last[ev.Service] = line
	p.say("%s: %s", ev.Service, line)
}

func (p *progress) line(ev api.Event) string {
	line := ev.To
	switch service.State(ev.To) {
	case service.Ready, service.Running:
		line += fmt.Sprintf(" (pid %d) in %v", ev.Pid, ev.Time.Sub(p.began[ev.Service]).Round(time.Millisecond))
	case service.Waiting:
		line += " " + ev.Why
	case service.Done:
	default:
		if ev.Why != "" {
			line += ": " + ev.Why
		}
	}
	return line
}

// open names those that are not up.
func (p *progress) open() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var open []string
	for _, name := range p.order {
		if state := stateOf(p.last[name]); !service.State(state).Up() && state != string(service.Done) {
			open = append(open, name+" is "+state)
		}
	}
	if len(open) == 0 {
		return ""
	}
	return ": " + strings.Join(open, ", ")
}

// rest says a line about those of which there was nothing to tell, and what the last notification would have told that the answer overtook.
func (p *progress) rest(all []api.Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range all {
		last, told := p.last[s.Name]
		if !told {
			p.say("%s: already %s", s.Name, outcome(s))
		} else if stateOf(last) != s.State {
			p.event(api.Event{Time: time.Now(), Service: s.Name, To: s.State, Pid: s.Pid, Why: s.Why})
		}
	}
}

// stateOf is the state that a line begins with.
func stateOf(line string) string {
	state, _, _ := strings.Cut(line, " ")
	return strings.TrimSuffix(state, ":")
}
