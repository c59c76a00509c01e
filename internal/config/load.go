package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// toml reads hob.toml and what is laid over it.
func (l *loader) toml(main, local *source) {
	base, over := l.tree(main), l.tree(local)
	if base == nil || !local.exists() {
		l.document(base, service.SourceFile)
		return
	}
	if over == nil {
		// Its errors are told; what it would have changed can't be judged.
		d := &decoding{problems: &l.problems}
		d.table(base, scope{}, &document{})
		return
	}
	// What the local file replaces must be right as well: others have no local file.
	alone := &decoding{problems: &l.problems}
	alone.table(base, scope{}, &document{})
	l.document(merge(base, over), service.SourceFile)
}

func (l *loader) tree(f *source) *node {
	if !f.read() {
		return nil
	}
	n, err := tree(f)
	if e, ok := errors.AsType[*treeError](err); ok {
		l.problems.add(e.at, "", e.message)
		return nil
	}
	return n
}

// document makes services of a tree; nil: there is none.
func (l *loader) document(n *node, from service.Source) {
	if n == nil {
		return
	}
	d := &decoding{loader: l, problems: &l.problems}
	var doc document
	d.table(n, scope{}, &doc)
	l.project.Daemon.IdleExit = doc.Daemon.IdleExit.v
	if doc.Services == nil {
		return
	}
	var tables []*serviceTable
	for _, name := range n.kid("services").names {
		if t := doc.Services[name]; t != nil {
			tables = append(tables, t)
		}
	}
	for _, t := range tables {
		t.check(d)
	}
	doc.Services.checkNeeds(d, tables)
	d.checkTaken(tables)
	if len(l.problems.list) > 0 {
		// Env files are read all the same, to tell of everything at once.
		for _, t := range tables {
			l.envFiles(d, t)
		}
		return
	}
	for _, t := range tables {
		l.project.Services = append(l.project.Services, l.service(d, t, from))
	}
}

// check looks at what the keys of a service mean together.
func (t *serviceTable) check(d *decoding) {
	s := scope{service: t.name}
	if !t.given() {
		return // not even a table, which was told
	}
	if !t.Run.given() && !t.odd {
		d.add(t.n.key, `run = "npm run dev", or ["npm", "run", "dev"]`, s.String()+"run is missing")
	}
	if t.Ready.given() {
		d.oneOf(t.Ready.set, s.sub("ready"), alternatives["ready"])
	}
	if t.Alive.given() {
		d.oneOf(t.Alive.set, s.sub("alive"), alternatives["alive"])
	}
	if t.Ready.Notify.given() && t.Ready.Notify.n.text == "false" {
		d.errorf(t.Ready.Notify.n, s.sub("ready.notify"), "only true means anything; leave the key out")
	}
	t.checkListen(d)
}

// checkAddress looks at an address where it is known what a relative path is below.
func (d *decoding) checkAddress(v address, s scope) {
	if v.v.Network == "" {
		return
	}
	if v.v.Network == "unix" && strings.Contains("/"+v.v.Addr+"/", "/../") { // which a join would resolve
		d.errorf(v.n, s, "%s: a path with \"..\"", quoted(v.v.String()))
		return
	}
	if err := d.loader.address(v.v).Check(); err != nil {
		d.errorf(v.n, s, "%v", err)
	}
}

func (t *serviceTable) checkListen(d *decoding) {
	s, at := scope{service: t.name}, &t.Listen
	if !at.given() {
		return
	}
	if !at.Addr.given() && !at.odd {
		d.errorf(at.n, s.sub("listen"), "addr is missing")
	}
	d.checkAddress(at.Addr, s.sub("listen"))
	d.checkAddress(at.To, s.sub("listen.to"))
	if t.Ready.TCP.v != "" && (service.Address{Network: "tcp", Addr: t.Ready.TCP.v}).LeadsTo(at.Addr.v) {
		d.hintf(t.Ready.TCP.n, s.sub("ready.tcp"), "use http, notify or log; or leave ready out",
			"%s is the address of listen, which accepts before the service is there", quoted(t.Ready.TCP.v))
	}
	if at.To.v.Network != "" && at.To.v.LeadsTo(at.Addr.v) {
		d.errorf(at.To.n, s.sub("listen.to"), "it is where hobd listens itself")
	}
	if at.To.given() && !at.Proxy.v {
		d.errorf(at.To.n, s.sub("listen.to"), "it is for proxy = true")
	}
	if len(t.Run.v) > 0 && !t.Run.simple && !at.Proxy.v {
		d.hintf(t.Run.n, s.sub("run"), `use an array, as in ["npm", "run", "dev"]`,
			"with listen it must be one simple command or an array: a shell in between does not hand the socket over")
	}
	if t.Ready.FD.v == 3 && !at.Proxy.v {
		d.errorf(t.Ready.FD.n, s.sub("ready.fd"), "descriptor 3 is the socket of listen")
	}
}

// checkTaken notes when two services would have one socket.
func (d *decoding) checkTaken(tables []*serviceTable) {
	whose := map[service.Address]string{}
	for _, t := range tables {
		a := t.Listen.Addr.v
		if a.Network == "" {
			continue
		}
		if other := whose[d.loader.address(a)]; other != "" {
			d.errorf(t.Listen.Addr.n, scope{service: t.name}.sub("listen"), "%s is where service %s listens", quoted(a.String()), quoted(other))
			continue
		}
		whose[d.loader.address(a)] = t.name
	}
}

// oneOf notes when a table has not exactly one of keys.
func (d *decoding) oneOf(t set, s scope, keys []string) {
	var have []string
	for _, k := range t.n.names {
		if slices.Contains(keys, k) {
			have = append(have, k)
		}
	}
	list := strings.Join(keys[:len(keys)-1], ", ") + " or " + keys[len(keys)-1]
	switch {
	case len(have) == 0 && !t.odd:
		d.errorf(t.n, s, "one of %s is needed", list)
	case len(have) > 1:
		d.add(t.n.kid(have[1]).key, "", fmt.Sprintf("%sit has both %s and %s, and only one of %s can be", s, have[0], have[1], list))
	}
}

// service makes a service of its table, which is good.
func (l *loader) service(d *decoding, t *serviceTable, from service.Source) Service {
	v := Service{
		Spec: service.Spec{
			Name: t.name, Cmd: t.Run.v, Dir: l.below(t.Dir.v), Source: from, Needs: t.Needs.v, Restart: service.RestartOnFailure,
			Stop: service.DefaultStop, Log: service.DefaultLog,
			Ready: service.Readiness{
				Log: t.Ready.Log.v, TCP: t.Ready.TCP.v, HTTP: t.Ready.HTTP.v, Exec: t.Ready.Exec.v, Notify: t.Ready.Notify.v, FD: t.Ready.FD.v,
			},
			Set:    lay(append(l.envFiles(d, t), t.Env.v...)),
			Listen: service.Listen{Address: l.address(t.Listen.Addr.v), Proxy: t.Listen.Proxy.v, To: l.address(t.Listen.To.v)},
			Idle:   t.Idle.v, TTY: t.TTY.v,
			Alive: service.Alive{HTTP: t.Alive.HTTP.v, TCP: t.Alive.TCP.v, Exec: t.Alive.Exec.v},
		},
		Auto: !t.Auto.given() || t.Auto.v, Watch: t.Watch.v,
	}
	if t.Restart.given() {
		v.Restart = t.Restart.v
	}
	if v.Ready.Declared() {
		v.Ready.Timeout = t.Ready.Timeout.or(service.DefaultReadyTimeout)
	}
	if v.Alive.Declared() {
		v.Alive.Every, v.Alive.Fails = t.Alive.Every.or(DefaultAliveEvery), DefaultAliveFails
		if t.Alive.Fails.given() {
			v.Alive.Fails = t.Alive.Fails.v
		}
	}
	if t.Stop.Signal.given() {
		v.Stop.Signal = t.Stop.Signal.v
	}
	v.Stop.Timeout = t.Stop.Timeout.or(v.Stop.Timeout)
	if t.Log.Max.given() {
		v.Log.Max = t.Log.Max.v
	}
	if t.Log.Keep.given() {
		v.Log.Keep = t.Log.Keep.v
	}
	return v
}

func (l *loader) address(a service.Address) service.Address {
	if a.Network == "unix" {
		a.Addr = l.below(a.Addr)
	}
	return a
}

// lay keeps of each variable the last value, in the order of their first ones; nil when there is none.
func lay(env []string) []string {
	at := make(map[string]int, len(env))
	out := env[:0]
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if i, ok := at[name]; ok {
			out[i] = kv
			continue
		}
		at[name] = len(out)
		out = append(out, kv)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func checkName(d *decoding, at place, name string) bool {
	if err := service.CheckName(name); err != nil {
		d.add(at, "", err.Error())
		return false
	}
	return true
}
