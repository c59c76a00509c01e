package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth is how deep tables and arrays may nest. Nothing that means anything is deeper than six.
const maxDepth = 32

// treeError is where a document stops being TOML.
type treeError struct {
	at      place
	message string
}

func (e *treeError) Error() string { return e.message }

// tree reads a TOML document. The library's parser knows the syntax and tells offsets; its decoder does not, so the
// rules about who may add to a table are here (TestTreeAgreesWithTOML holds them against the library's).
func tree(f *source) (*node, error) {
	b := &builder{file: f, root: &node{kind: tableKind, made: header, at: place{f, 1, 1}, key: place{f, 1, 1}}}
	b.current = b.root
	b.parser.Reset(f.data)
	for b.parser.NextExpression() {
		if err := b.expression(b.parser.Expression()); err != nil {
			return nil, err
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, b.syntax(err)
	}
	return b.root, nil
}

type builder struct {
	file    *source
	parser  unstable.Parser
	root    *node
	current *node  // table that keys go to
	path    []part // of current
}

// part is one part of a dotted key.
type part struct {
	name string
	at   place
	end  int // offset behind it
}

func (b *builder) syntax(err error) error {
	at := b.file.at(len(b.file.data))
	if pe, ok := errors.AsType[*unstable.ParserError](err); ok && cap(pe.Highlight) <= cap(b.file.data) {
		at = b.file.at(min(cap(b.file.data)-cap(pe.Highlight), len(b.file.data)))
	}
	return &treeError{at: at, message: err.Error()}
}

func (b *builder) parts(it unstable.Iterator) ([]part, error) {
	var list []part
	for it.Next() {
		raw := it.Node().Raw
		at := b.file.at(int(raw.Offset))
		if len(list) == maxDepth {
			return nil, &treeError{at: at, message: fmt.Sprintf("a key of more than %d parts", maxDepth)}
		}
		list = append(list, part{string(it.Node().Data), at, int(raw.Offset + raw.Length)})
	}
	return list, nil
}

func (b *builder) expression(e *unstable.Node) error {
	parts, err := b.parts(e.Key())
	if err != nil {
		return err
	}
	if e.Kind != unstable.KeyValue {
		b.current, err = b.header(parts, e.Kind == unstable.ArrayTable)
		b.path = parts
		return err
	}
	v, err := b.value(e.Value(), b.valueAt(parts), 0)
	if err != nil {
		return err
	}
	return b.assign(b.current, b.path, parts, v)
}

// valueAt gives the place of the value behind a key: the parser has none for an array.
func (b *builder) valueAt(parts []part) place {
	i := parts[len(parts)-1].end
	for i < len(b.file.data) && strings.IndexByte(" \t=", b.file.data[i]) >= 0 {
		i++
	}
	return b.file.at(i)
}

// header gives the table that [parts] or [[parts]] opens.
func (b *builder) header(parts []part, repeat bool) (*node, error) {
	t := b.root
	for i, p := range parts[:len(parts)-1] {
		kid := t.kid(p.name)
		switch {
		case kid == nil:
			kid = &node{kind: tableKind, made: implied, key: p.at, at: p.at}
			t.put(p.name, kid)
		case kid.kind == arrayKind && kid.made == repeated:
			kid = kid.list[len(kid.list)-1]
		case kid.kind != tableKind || kid.made == inlined:
			return nil, already(parts[:i+1], kid)
		}
		t = kid
	}
	last := parts[len(parts)-1]
	kid := t.kid(last.name)
	fresh := &node{kind: tableKind, made: header, key: last.at, at: last.at}
	switch {
	case repeat && kid == nil:
		t.put(last.name, &node{kind: arrayKind, made: repeated, key: last.at, at: last.at, list: []*node{fresh}})
		return fresh, nil
	case repeat && kid.kind == arrayKind && kid.made == repeated:
		kid.list = append(kid.list, fresh)
		return fresh, nil
	case kid == nil:
		t.put(last.name, fresh)
		return fresh, nil
	case !repeat && kid.kind == tableKind && kid.made == implied:
		kid.made, kid.key, kid.at = header, last.at, last.at
		return kid, nil
	}
	return nil, already(parts, kid)
}

// assign puts v at parts below t, which is the table path.
func (b *builder) assign(t *node, path, parts []part, v *node) error {
	for i, p := range parts[:len(parts)-1] {
		kid := t.kid(p.name)
		if kid == nil {
			kid = &node{kind: tableKind, made: dotted, key: p.at, at: p.at}
			t.put(p.name, kid)
		}
		if kid.kind != tableKind || kid.made != dotted {
			return already(append(path[:len(path):len(path)], parts[:i+1]...), kid)
		}
		t = kid
	}
	last := parts[len(parts)-1]
	if kid := t.kid(last.name); kid != nil {
		return already(append(path[:len(path):len(path)], parts...), kid)
	}
	v.key = last.at
	t.put(last.name, v)
	return nil
}

func already(parts []part, first *node) error {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = keyText(p.name)
	}
	what := "key"
	if first.kind == tableKind && first.made != inlined || first.made == repeated {
		what = "table"
	}
	return &treeError{at: parts[len(parts)-1].at,
		message: fmt.Sprintf("%s %s is already defined in line %d", what, cut(strings.Join(names, ".")), first.key.line)}
}

// keyText is a key as TOML has it.
func keyText(name string) string {
	if name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == "" {
		return name
	}
	return strconv.Quote(name)
}

// value copies what the parser has: its nodes are gone with the next expression.
func (b *builder) value(v *unstable.Node, at place, depth int) (*node, error) {
	if depth == maxDepth {
		return nil, &treeError{at: at, message: fmt.Sprintf("arrays and tables are nested more than %d deep", maxDepth)}
	}
	n := &node{at: at, key: at}
	switch v.Kind {
	case unstable.String:
		n.kind, n.text = stringKind, string(v.Data)
	case unstable.Integer:
		return n, b.number(n, integerKind, string(v.Data))
	case unstable.Float:
		return n, b.number(n, floatKind, string(v.Data))
	case unstable.Bool:
		n.kind, n.text = boolKind, string(v.Data)
	case unstable.Array:
		n.kind = arrayKind
		return n, b.elements(n, v, depth)
	case unstable.InlineTable:
		n.kind, n.made = tableKind, inlined
		return n, b.inline(n, v, depth)
	default:
		n.kind, n.text = dateKind, string(v.Data)
	}
	return n, nil
}

func (b *builder) elements(n *node, v *unstable.Node, depth int) error {
	for it := v.Children(); it.Next(); {
		at := n.at
		if it.Node().Kind != unstable.Array {
			at = b.file.at(int(it.Node().Raw.Offset))
		}
		one, err := b.value(it.Node(), at, depth+1)
		if err != nil {
			return err
		}
		n.list = append(n.list, one)
	}
	return nil
}

func (b *builder) inline(n *node, v *unstable.Node, depth int) error {
	for it := v.Children(); it.Next(); {
		parts, err := b.parts(it.Node().Key())
		if err != nil {
			return err
		}
		one, err := b.value(it.Node().Value(), b.valueAt(parts), depth+1)
		if err != nil {
			return err
		}
		if err := b.assign(n, nil, parts, one); err != nil {
			return err
		}
	}
	return nil
}

// number checks what the parser leaves to the decoder.
func (b *builder) number(n *node, k kind, text string) error {
	n.kind, n.text = k, text
	var err error
	if k == integerKind {
		_, err = n.integer()
	} else if !strings.HasSuffix(text, "nan") {
		_, err = strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	}
	if err != nil {
		return &treeError{at: n.at, message: fmt.Sprintf("number %s does not fit into 64 bits", cut(text))}
	}
	return nil
}

// integer is the value of an integer.
func (n *node) integer() (int64, error) {
	return strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64)
}
