package config

import (
	"fmt"
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// needs are names of services, or a table of them that says for what.
type needs struct {
	set
	v     []service.Need
	at    []*node // where each stands
	names map[string]bool
}

func (v *needs) read(d *decoding, n *node, s scope) {
	v.begin(n)
	v.names = map[string]bool{}
	switch n.kind {
	case arrayKind:
		for _, one := range n.list {
			if one.kind != stringKind {
				d.expected(one, s, "the name of a service", `"db"`)
				continue
			}
			v.add(d, one, s, one.text, service.NeedReady)
		}
	case tableKind:
		for _, name := range n.names {
			v.named(d, n.kids[name], s, name)
		}
	default:
		d.expected(n, s, "an array or a table", `["db"] or { db = "ready", migrate = "done" }`)
	}
}

func (v *needs) named(d *decoding, n *node, s scope, name string) {
	c := service.Condition(n.text)
	switch {
	case n.kind != stringKind:
		d.expected(n, s.sub(keyText(name)), "a string", `"ready" or "done"`)
	case c != service.NeedReady && c != service.NeedDone:
		words := []string{string(service.NeedReady), string(service.NeedDone)}
		meant := map[string]string{"healthy": "ready", "started": "ready", "running": "ready", "completed": "done", "exited": "done", "success": "done"}[n.text]
		if meant == "" {
			meant = nearest(n.text, words)
		}
		d.errorf(n, s.sub(keyText(name)), "%s is not \"ready\" or \"done\"%s", quoted(n.text), didYouMean(meant))
	default:
		v.add(d, &node{at: n.key}, s, name, c)
	}
}

// add takes a need whose name stands at n.
func (v *needs) add(d *decoding, n *node, s scope, name string, c service.Condition) {
	if v.names[name] {
		d.errorf(n, s, "service %s is named twice", quoted(name))
		return
	}
	v.names[name] = true
	v.v, v.at = append(v.v, service.Need{Name: name, For: c}), append(v.at, n)
}

// checkNeeds looks at what the services need of each other. tables has them in the order of the file.
func (v services) checkNeeds(d *decoding, tables []*serviceTable) {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.name
	}
	for _, t := range tables {
		for i, need := range t.Needs.v {
			s, at := scope{t.name, "needs"}, t.Needs.at[i]
			other := v[need.Name]
			switch {
			case need.Name == t.name:
				d.errorf(at, s, "the service needs itself")
			case other == nil && d.full():
				d.more = true
			case other == nil:
				d.errorf(at, s, "no service %s%s", quoted(need.Name), didYouMean(nearest(need.Name, names)))
			case need.For == service.NeedDone && other.Restart.v == service.RestartAlways:
				d.errorf(at, s, "service %s is never done, for it has restart = \"always\"", quoted(need.Name))
			}
		}
	}
	c := &cycles{services: v, d: d, seen: map[string]int{}}
	for _, t := range tables {
		c.visit(t)
	}
}

// cycles looks for services that need each other in a cycle.
type cycles struct {
	services services
	d        *decoding
	path     []string
	seen     map[string]int // 0: not yet, -1: done, else place in path, from 1
}

func (c *cycles) visit(t *serviceTable) {
	if c.seen[t.name] != 0 {
		return
	}
	c.path = append(c.path, t.name)
	c.seen[t.name] = len(c.path)
	for i, need := range t.Needs.v {
		other := c.services[need.Name]
		if other == nil || other == t {
			continue
		}
		if at := c.seen[need.Name]; at > 0 {
			c.d.errorf(t.Needs.at[i], scope{t.name, "needs"}, "a cycle: %s", cyclePath(c.path[at-1:]))
		}
		c.visit(other)
	}
	c.path = c.path[:len(c.path)-1]
	c.seen[t.name] = -1
}

// cyclePath is "web → api → web", with the middle left out of a long one.
func cyclePath(path []string) string {
	const most = 12
	var b strings.Builder
	for i, name := range path {
		if len(path) > most && i == most/2 {
			fmt.Fprintf(&b, "(%d more) → ", len(path)-most)
		}
		if len(path) <= most || i < most/2 || i >= len(path)-most/2 {
			b.WriteString(cut(name) + " → ")
		}
	}
	return b.String() + cut(path[0])
}
