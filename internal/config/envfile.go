package config

import (
	"fmt"
	"strings"
)

// envFile is a file with variables, read once however many services name it.
type envFile struct {
	source *source
	vars   []string // "K=V", in the order of the file; a name may come again
}

func (l *loader) env(name string) *envFile {
	path := l.below(name)
	f := l.envs[path]
	if f == nil {
		f = &envFile{source: l.open(path, anybodys)}
		l.envs[path] = f
		if f.source.read() {
			p := &envParser{file: f.source, data: string(f.source.data), problems: &l.problems, known: map[string]string{}}
			p.parse()
			f.vars = p.vars
		}
	}
	return f
}

// envFiles gives the variables of all files that a service names.
func (l *loader) envFiles(d *decoding, t *serviceTable) []string {
	var env []string
	for i, name := range t.EnvFile.v {
		f := l.env(name)
		if !f.source.exists() {
			d.errorf(t.EnvFile.at[i], scope{t.name, "env_file"}, "no such file %s", quoted(f.source.name))
		}
		if env = append(env, f.vars...); len(env) > maxVariables {
			d.errorf(t.EnvFile.at[i], scope{t.name, "env_file"}, "more than %d variables", maxVariables)
			return nil
		}
	}
	return env
}

// envParser reads the syntax of dotenv files: NAME=VALUE or NAME: VALUE, export in front, comments, '…' as it
// stands, "…" with \n, \r and \" and over several lines, and $NAME or ${NAME} of variables further up, with
// capital letters. It is its own, because the library's takes junk and quotes the file in its errors
// (docs/adr/0008). It never says a value.
type envParser struct {
	file     *source
	data     string
	i        int
	problems *problems
	vars     []string
	known    map[string]string
	bytes    int // of all values
}

// maxVariables is how many a service may be given.
const maxVariables = 10_000

func (p *envParser) parse() {
	if i := strings.IndexByte(p.data, 0); i >= 0 {
		p.bad(i, "a NUL byte, which no program can be given")
		return
	}
	for !p.problems.full() && p.bytes <= MaxFile {
		p.skip(" \t\r\n\v\f")
		if p.i == len(p.data) {
			return
		}
		if p.data[p.i] == '#' || !p.assignment() {
			p.line() // what is left of a bad line is not looked at
		}
	}
}

func (p *envParser) skip(set string) {
	for p.i < len(p.data) && strings.IndexByte(set, p.data[p.i]) >= 0 {
		p.i++
	}
}

// line goes to the end of the line and gives what was left of it.
func (p *envParser) line() string {
	rest := p.data[p.i:]
	if end := strings.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	p.i += len(rest)
	return strings.TrimSuffix(rest, "\r")
}

func (p *envParser) bad(at int, message string) bool {
	p.problems.add(p.file.at(at), "", message)
	return false
}

// assignment reads NAME=VALUE.
func (p *envParser) assignment() bool {
	start := p.i
	name, ok := p.name()
	if !ok {
		return false
	}
	p.skip(" \t")
	value, ok := "", true
	if at := p.i; at < len(p.data) && (p.data[at] == '\'' || p.data[at] == '"') {
		value, ok = p.quoted(name)
	} else {
		value, ok = p.plain(name)
	}
	if !ok {
		return false
	}
	// Variables of variables of variables: a small file can stand for a huge environment.
	if p.bytes += len(value); p.bytes > MaxFile {
		return p.bad(start, fmt.Sprintf("the values up to here have more than %d bytes", MaxFile))
	}
	p.known[name] = value
	p.vars = append(p.vars, name+"="+value)
	return true
}

func (p *envParser) name() (string, bool) {
	if rest, ok := strings.CutPrefix(p.data[p.i:], "export"); ok && rest != "" && strings.IndexByte(" \t", rest[0]) >= 0 {
		p.i += len("export")
		p.skip(" \t")
	}
	start := p.i
	for p.i < len(p.data) && (p.data[p.i] == '_' || p.data[p.i] == '.' || isAlphanumeric(p.data[p.i])) {
		p.i++
	}
	name, end := p.data[start:p.i], p.i
	p.skip(" \t")
	switch {
	case p.i == len(p.data) || strings.IndexByte("=:", p.data[p.i]) < 0:
		if name != "" && (p.i == len(p.data) || p.data[p.i] == '\n' || p.data[p.i] == '\r') {
			return "", p.bad(start, "expected NAME=VALUE; there is no \"=\"")
		}
		return "", p.bad(end, "expected NAME=VALUE, with a name of letters, digits, \"_\" and \".\"")
	case name == "":
		return "", p.bad(start, "expected NAME=VALUE; there is no name")
	}
	p.i++
	return name, true
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// plain reads a value without quotes: to the end of the line, or to a # behind a space.
func (p *envParser) plain(name string) (string, bool) {
	start := p.i
	text := p.line()
	for i := 1; i < len(text); i++ {
		if text[i] == '#' && (text[i-1] == ' ' || text[i-1] == '\t') {
			text = text[:i]
			break
		}
	}
	return p.expand(name, strings.TrimRight(text, " \t\r\v\f"), start, false)
}

// quoted reads '…' or "…", behind which only a comment may follow.
func (p *envParser) quoted(name string) (string, bool) {
	start, quote := p.i, p.data[p.i]
	p.i++
	for p.i < len(p.data) && p.data[p.i] != quote {
		if p.data[p.i] == '\\' && quote == '"' {
			p.i++
		}
		p.i++
	}
	if p.i >= len(p.data) {
		p.i = len(p.data)
		return "", p.bad(start, fmt.Sprintf("variable %s: the quote is not closed", quoted(name)))
	}
	text := p.data[start+1 : p.i]
	p.i++
	end := p.i
	if rest := strings.TrimLeft(p.line(), " \t"); rest != "" && rest[0] != '#' {
		return "", p.bad(end, fmt.Sprintf("variable %s: something follows the closing quote", quoted(name)))
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if quote == '\'' {
		return text, true
	}
	return p.expand(name, text, start+1, true)
}

// expand puts in the variables that are named, and with escapes what they stand for.
func (p *envParser) expand(name, text string, at int, escapes bool) (string, bool) {
	if strings.IndexByte(text, '$') < 0 && (!escapes || strings.IndexByte(text, '\\') < 0) {
		return text, true
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (escapes || text[i+1] == '$'):
			b.WriteString(unescape(text[i+1]))
			i += 2
		case c == '$':
			value, n, ok := p.variable(text[i:])
			if !ok {
				return "", p.bad(at, fmt.Sprintf("variable %s: only $NAME and ${NAME} are replaced; write \\$ for a $ that stays", quoted(name)))
			}
			b.WriteString(value)
			i += n
		default:
			b.WriteByte(c)
			i++
		}
		if b.Len() > MaxFile {
			break // told by assignment
		}
	}
	return b.String(), true
}

func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	}
	return string([]byte{c})
}

// variable gives the value of the $NAME or ${NAME} that s begins with, and its length in s. A $ before anything
// but a capital letter, a digit or "_" stands for itself; a name that is not known for nothing.
func (p *envParser) variable(s string) (value string, n int, ok bool) {
	open := 1
	if strings.HasPrefix(s, "${") {
		open = 2
	}
	end := open
	for end < len(s) && (s[end] == '_' || s[end] >= '0' && s[end] <= '9' || s[end] >= 'A' && s[end] <= 'Z') {
		end++
	}
	switch {
	case end == open:
		return "$", 1, true
	case open == 1:
		return p.known[s[open:end]], end, true
	case end == len(s) || s[end] != '}':
		return "", 0, false
	}
	return p.known[s[open:end]], end + 1, true
}
