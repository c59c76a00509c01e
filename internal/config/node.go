package config

import "slices"

// kind is what TOML knows.
type kind int

const (
	tableKind kind = iota
	arrayKind
	stringKind
	integerKind
	floatKind
	boolKind
	dateKind
)

// String is for "expected …, not a string".
func (k kind) String() string {
	return [...]string{
		tableKind: "a table", arrayKind: "an array", stringKind: "a string", integerKind: "an integer",
		floatKind: "a floating-point number", boolKind: "a boolean", dateKind: "a date or time",
	}[k]
}

// node is a value as it stands in a file, with the place of it and of its key.
type node struct {
	kind kind
	text string  // of a string its value, of other scalars what is written
	key  place   // of the key; of an element of an array, its own
	at   place   // of the value; of a table with a header, the name in it
	list []*node // elements of an array

	names []string // keys of a table, in the order of the file
	kids  map[string]*node
	made  maker
}

// maker is how a table came to be, which decides who may add to it.
type maker int

const (
	implied  maker = iota // by the header of a table below it
	header                // by its own
	dotted                // by a key with dots
	inlined               // by { }
	repeated              // an array of tables, [[name]]
)

func (n *node) kid(name string) *node { return n.kids[name] }

func (n *node) put(name string, kid *node) {
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	if _, ok := n.kids[name]; !ok {
		n.names = append(n.names, name)
	}
	n.kids[name] = kid
}

// alternatives are keys of which a table has one: one in the upper file takes the place of all in the lower.
var alternatives = map[string][]string{
	"ready": {"log", "tcp", "http", "exec", "notify", "fd"},
	"alive": {"http", "tcp", "exec"},
}

// merge lays over on top of base and gives a table of its own; neither is changed. Tables are merged key by key,
// anything else is replaced. path is where both stand.
func merge(base, over *node, path ...string) *node {
	if base == nil || base.kind != tableKind || over.kind != tableKind {
		return over
	}
	n := &node{kind: tableKind, key: base.key, at: base.at, made: base.made}
	var others []string
	if len(path) == 3 && slices.ContainsFunc(alternatives[path[2]], func(k string) bool { return over.kid(k) != nil }) {
		others = alternatives[path[2]]
	}
	for _, k := range base.names {
		if over.kid(k) != nil || !slices.Contains(others, k) {
			n.put(k, base.kids[k])
		}
	}
	for _, k := range over.names {
		n.put(k, merge(base.kid(k), over.kids[k], append(path[:len(path):len(path)], k)...))
	}
	return n
}
