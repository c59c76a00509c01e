package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// decoding lays the tree of a file into the types of keys.go.
type decoding struct {
	loader *loader // nil while the lower file is looked at alone: no notes then
	*problems
}

// scope says of what a value is, for messages.
type scope struct {
	service string // name, or ""
	path    string // "ready.tcp"
}

func (s scope) sub(key string) scope {
	if s.path != "" {
		key = s.path + "." + key
	}
	return scope{s.service, key}
}

// String is `service "web": ready.tcp: `, or what there is of it.
func (s scope) String() string {
	text := ""
	if s.service != "" {
		text = fmt.Sprintf("service %q: ", cut(s.service))
	}
	if s.path != "" {
		text += s.path + ": "
	}
	return text
}

// cut keeps what somebody wrote from filling a terminal.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// quoted is what somebody wrote, safe for a terminal.
func quoted(s string) string { return fmt.Sprintf("%q", cut(s)) }

// set is where a value stands. The zero one: it is not there.
type set struct {
	n   *node
	odd bool // it has keys that nobody knows, which may have been meant for one that is missing
}

func (s *set) begin(n *node) { s.n = n }

func (s *set) unknownKeys() { s.odd = true }

// given reports whether the file has the value.
func (s *set) given() bool { return s.n != nil }

// reader is a value that reads itself from a node.
type reader interface {
	read(d *decoding, n *node, s scope)
}

// errorf notes what is wrong with a value.
func (d *decoding) errorf(n *node, s scope, format string, args ...any) {
	d.add(n.at, "", s.String()+fmt.Sprintf(format, args...))
}

// hintf is errorf with what to do about it.
func (d *decoding) hintf(n *node, s scope, hint, format string, args ...any) {
	d.add(n.at, hint, s.String()+fmt.Sprintf(format, args...))
}

// expected notes that a value is of another kind than its key wants; example is a good one.
func (d *decoding) expected(n *node, s scope, what, example string) {
	d.errorf(n, s, "expected %s like %s, not %s", what, example, n.kind)
}

// example is a good table, for those who wrote something else.
func example(table string) string {
	switch table {
	case "readyTable":
		return `{ tcp = "127.0.0.1:5432" }`
	case "stopTable":
		return `{ signal = "INT", timeout = "10s" }`
	case "aliveTable":
		return `{ http = "http://127.0.0.1:8080/healthz" }`
	case "logTable":
		return `{ max = "10MB", keep = 3 }`
	case "daemonTable":
		return `{ idle_exit = "10m" }`
	}
	return "[services.web]"
}

// table lays the keys of n into the struct that to points to. A key that the struct does not have is a problem.
func (d *decoding) table(n *node, s scope, to any) {
	v := reflect.ValueOf(to).Elem()
	t := v.Type()
	if n.kind != tableKind {
		d.expected(n, s, "a table", example(t.Name()))
		return
	}
	self, _ := to.(interface {
		begin(*node)
		unknownKeys()
	})
	if self != nil {
		self.begin(n)
	}
	known := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("toml")
		if key == "" {
			continue
		}
		known = append(known, key)
		kid := n.kid(key)
		if kid == nil {
			continue
		}
		field := v.Field(i).Addr().Interface()
		if r, ok := field.(reader); ok {
			r.read(d, kid, s.sub(key))
		} else {
			d.table(kid, s.sub(key), field)
		}
		if f.Tag.Get("later") != "" && d.loader != nil {
			d.loader.note(kid.key, s.sub(key).String()+"it is read and checked, and acts in a later version")
		}
	}
	for _, name := range n.names {
		if !slices.Contains(known, name) {
			d.unknown(n.kids[name], name, s, t, known)
			if self != nil {
				self.unknownKeys()
			}
		}
	}
}

// unknown notes a key that nobody knows, with the one that was probably meant.
func (d *decoding) unknown(n *node, name string, s scope, table reflect.Type, known []string) {
	if d.full() {
		d.more = true
		return
	}
	lower := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	meant, hint := foreignKeys()[table.Name()][lower], ""
	if meant == "" {
		meant = nearest(name, known)
	}
	if meant == "" {
		meant = longer(lower, table)
	}
	if table == reflect.TypeFor[document]() && meant == "" {
		switch {
		case n.kind == tableKind:
			meant = "services." + keyText(name)
		case isServiceKey(name):
			hint = "it belongs into the table of a service: [services.NAME]"
		}
	}
	if strings.Contains(lower, "watchdog") {
		meant, hint = "", "the watchdog of sd_notify(3) is for a later version; see alive"
	}
	d.add(n.key, hint, fmt.Sprintf("%sunknown key %s%s", s, quoted(name), didYouMean(meant)))
}

// longer gives the key that name begins with: log.max for log_max, restart for restart_delay.
func longer(name string, table reflect.Type) string {
	for i := range table.NumField() {
		f := table.Field(i)
		key := f.Tag.Get("toml")
		rest, ok := strings.CutPrefix(name, key+"_")
		if key == "" || !ok {
			continue
		}
		for j := 0; f.Type.Kind() == reflect.Struct && j < f.Type.NumField(); j++ {
			if sub := f.Type.Field(j).Tag.Get("toml"); sub != "" && sub == rest {
				return key + "." + sub
			}
		}
		return key
	}
	return ""
}

// isServiceKey reports whether name is, or elsewhere would be, a key of a service.
func isServiceKey(name string) bool {
	t := reflect.TypeFor[serviceTable]()
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("toml") == name {
			return true
		}
	}
	return foreignKeys()["serviceTable"][name] != ""
}

// maxServices is how many a project may have.
const maxServices = 1000

// services are the tables [services.NAME].
type services map[string]*serviceTable

func (v *services) read(d *decoding, n *node, s scope) {
	if n.kind != tableKind {
		d.expected(n, s, "a table for each service", "[services.web]")
		return
	}
	if len(n.names) > maxServices {
		d.errorf(n, s, "more than %d", maxServices)
		return
	}
	*v = make(services, len(n.names))
	for _, name := range n.names {
		kid := n.kids[name]
		t := &serviceTable{name: name}
		(*v)[name] = t
		if kid.kind != tableKind {
			hint := ""
			if isServiceKey(name) {
				hint = "it belongs into the table of a service: [services.NAME]"
			}
			d.hintf(kid, s.sub(keyText(name)), hint, "expected a table for the service like [services.web], not %s", kid.kind)
			continue
		}
		checkName(d, kid.key, name)
		d.table(kid, scope{service: name}, t)
	}
}
