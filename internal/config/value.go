package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"

	"github.com/hobworks/hob/internal/service"
)

// str reads a string without NUL, which no program could be given.
func (d *decoding) str(n *node, s scope, example string) (string, bool) {
	if n.kind != stringKind {
		d.expected(n, s, "a string", example)
		return "", false
	}
	return n.text, d.noNUL(n, s)
}

func (d *decoding) noNUL(n *node, s scope) bool {
	if strings.IndexByte(n.text, 0) >= 0 {
		d.errorf(n, s, "a NUL byte, which no program can be given")
		return false
	}
	return true
}

// strs reads an array of strings. Each may be checked where it stands.
func (d *decoding) strs(n *node, s scope, example string, check func(*node, string) bool) ([]string, bool) {
	list, good := make([]string, 0, len(n.list)), true
	for _, one := range n.list {
		if one.kind != stringKind {
			d.errorf(one, s, "expected an array of strings like %s; this is %s", example, one.kind)
			good = false
			continue
		}
		good = d.noNUL(one, s) && (check == nil || check(one, one.text)) && good
		list = append(list, one.text)
	}
	return list, good
}

type boolean struct {
	set
	v bool
}

func (v *boolean) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if n.kind != boolKind {
		meant := ""
		if n.kind == stringKind {
			meant = map[string]string{"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}[strings.ToLower(n.text)]
		}
		if meant != "" {
			d.errorf(n, s, "expected true or false, not %s (did you mean %s without quotes?)", n.kind, meant)
		} else {
			d.errorf(n, s, "expected true or false, not %s", n.kind)
		}
		return
	}
	v.v = n.text == "true"
}

type restart struct {
	set
	v service.Restart
}

var restarts = []string{string(service.RestartNo), string(service.RestartOnFailure), string(service.RestartAlways)}

func (v *restart) read(d *decoding, n *node, s scope) {
	v.begin(n)
	meant := map[string]string{"true": "always", "false": "no", "never": "no", "unless-stopped": "always", "on_failure": "on-failure", "failure": "on-failure"}[n.text]
	if n.kind != stringKind {
		d.errorf(n, s, `expected "no", "on-failure" or "always", not %s%s`, n.kind, didYouMean(meant))
		return
	}
	for _, r := range restarts {
		if n.text == r {
			v.v = service.Restart(r)
			return
		}
	}
	if meant == "" {
		meant = nearest(n.text, restarts)
	}
	d.errorf(n, s, `%s is not "no", "on-failure" or "always"%s`, quoted(n.text), didYouMean(meant))
}

// duration is a string of time.ParseDuration, more than 0.
type duration struct {
	set
	v time.Duration
}

func (v *duration) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if n.kind == integerKind || n.kind == floatKind {
		d.errorf(n, s, "expected a duration like \"10s\", not %s%s", n.kind, didYouMean(n.text+"s"))
		return
	}
	text, ok := d.str(n, s, `"10s"`)
	if !ok {
		return
	}
	t, err := time.ParseDuration(text)
	switch {
	case err != nil:
		d.errorf(n, s, "%s is not a duration like \"500ms\", \"10s\" or \"1m30s\"", quoted(text))
	case t <= 0:
		d.errorf(n, s, "%s is not more than 0", quoted(text))
	default:
		v.v = t
	}
}

// or gives the value, or what holds without one.
func (v *duration) or(t time.Duration) time.Duration {
	if v.v == 0 {
		return t
	}
	return v.v
}

// size is a number of bytes.
type size struct {
	set
	v int64
}

var units = map[string]int64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// minLog is the smallest segment of a log.
const minLog = 4 << 10

func (v *size) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if n.kind != stringKind && n.kind != integerKind {
		d.expected(n, s, "a size", `"10MB"`)
		return
	}
	text := n.text
	if n.kind == integerKind {
		i, _ := n.integer()
		text = strconv.FormatInt(i, 10)
	}
	digits := strings.TrimRight(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	unit, known := units[text[len(digits):]]
	i, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case !known || err != nil || i > (1<<63-1)/unit:
		d.errorf(n, s, "%s is not a size like \"10MB\", \"512KiB\" or a number of bytes", quoted(text))
	case i*unit < minLog:
		d.errorf(n, s, "%s is less than 4KiB", cut(text))
	default:
		v.v = i * unit
	}
}

// count is an integer of at least 1.
type count struct {
	set
	v int
}

func (v *count) read(d *decoding, n *node, s scope) {
	v.begin(n)
	v.v = d.integer(n, s, 1, 1<<20)
}

// keep is an integer that may be 0.
type keep struct {
	set
	v int
}

func (v *keep) read(d *decoding, n *node, s scope) {
	v.begin(n)
	v.v = d.integer(n, s, 0, 1<<20)
}

func (d *decoding) integer(n *node, s scope, least, most int64) int {
	if n.kind != integerKind {
		d.expected(n, s, "an integer", "3")
		return 0
	}
	i, _ := n.integer()
	if i < least || i > most {
		d.errorf(n, s, "%s is not between %d and %d", cut(n.text), least, most)
	}
	return int(i)
}

// descriptor is one that a service may write its newline to: not one of the first three, nor that of its lock.
type descriptor struct {
	set
	v int
}

func (v *descriptor) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if n.kind != integerKind {
		d.expected(n, s, "a descriptor", "3")
		return
	}
	i, _ := n.integer()
	switch {
	case i == 10:
		d.errorf(n, s, "descriptor 10 is used by hob itself; take 3 to 9 or 11 to 255")
	case i < 3 || i > 255:
		d.errorf(n, s, "descriptor %s is not 3 to 9 or 11 to 255", cut(n.text))
	default:
		v.v = int(i)
	}
}

// expression is a regular expression.
type expression struct {
	set
	v string
}

func (v *expression) read(d *decoding, n *node, s scope) {
	v.begin(n)
	text, ok := d.str(n, s, `"listening on .*:8080"`)
	if !ok {
		return
	}
	if text == "" {
		d.errorf(n, s, "an empty expression matches every line")
		return
	}
	if _, err := regexp.Compile(text); err != nil {
		d.errorf(n, s, "%s is not a regular expression: %s", quoted(text), expressionError(err))
		return
	}
	v.v = text
}

func expressionError(err error) string {
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return string(e.Code)
	}
	return "too complicated"
}

// directory is a path, or "" for the root.
type directory struct {
	set
	v string
}

func (v *directory) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if text, ok := d.str(n, s, `"api"`); ok && d.path(n, s, text) {
		v.v = text
	}
}

// path checks a path of the file.
func (d *decoding) path(n *node, s scope, text string) bool {
	switch {
	case text == "":
		d.errorf(n, s, "an empty path")
		return false
	case text == "~" || strings.HasPrefix(text, "~/"):
		d.errorf(n, s, "%s: ~ is not expanded here; write a path relative to %s, or an absolute one", quoted(text), FileName)
		return false
	}
	return true
}

// paths is one path or an array of them.
type paths struct {
	set
	v  []string
	at []*node // where each stands
}

func (v *paths) read(d *decoding, n *node, s scope) {
	v.begin(n)
	list := []*node{n}
	if n.kind == arrayKind {
		list = n.list
	} else if n.kind != stringKind {
		d.expected(n, s, "a path or an array of them", `[".env"]`)
		return
	}
	for _, one := range list {
		if text, ok := d.str(one, s, `".env"`); ok && d.path(one, s, text) {
			v.v, v.at = append(v.v, text), append(v.at, one)
		}
	}
}

// globs are patterns of files; those with "!" in front say which not.
type globs struct {
	set
	v []string
}

func (v *globs) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if n.kind != arrayKind {
		d.expected(n, s, "an array of patterns", `["**/*.go", "!**/*_test.go"]`)
		return
	}
	wanted := false
	list, ok := d.strs(n, s, `["**/*.go"]`, func(one *node, text string) bool {
		pattern, not := strings.CutPrefix(text, "!")
		wanted = wanted || !not
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			d.errorf(one, s, "%s is not a pattern of files", quoted(text))
			return false
		}
		if path.IsAbs(pattern) || pattern == ".." || strings.HasPrefix(pattern, "../") {
			d.errorf(one, s, "%s leads out of the project", quoted(text))
			return false
		}
		return true
	})
	if ok && !wanted {
		d.errorf(n, s, "nothing is watched by it; add a pattern without \"!\"")
		return
	}
	v.v = list
}

// variables are names and values for an environment.
type variables struct {
	set
	v []string // "K=V", in the order of the file
}

func (v *variables) read(d *decoding, n *node, s scope) {
	v.begin(n)
	if n.kind != tableKind {
		d.expected(n, s, "a table", `{ PORT = "8080" }`)
		return
	}
	for _, name := range n.names {
		kid := n.kids[name]
		text := kid.text
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			d.add(kid.key, "", fmt.Sprintf("%s%s is not the name of a variable", s, quoted(name)))
		case kid.kind == integerKind || kid.kind == floatKind:
			text = strings.ReplaceAll(text, "_", "")
		case kid.kind != stringKind && kid.kind != boolKind:
			d.expected(kid, s.sub(keyText(name)), "a string", `"8080"`)
		default:
			d.noNUL(kid, s.sub(keyText(name)))
		}
		v.v = append(v.v, name+"="+text)
	}
}
