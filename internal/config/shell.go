package config

import (
	"slices"
	"strings"
)

// shellCommand gives the argv that runs text in a shell, nil when there is nothing to run, and whether it is one
// simple command: then the shell executes it in its own place, and a signal reaches the program itself.
func shellCommand(text string) (argv []string, simple bool) {
	if strings.TrimSpace(text) == "" {
		return nil, false
	}
	first, rest, simple := firstWord(text)
	if !simple {
		return []string{"sh", "-c", text}, false
	}
	if first == "exec" {
		next, _, _ := firstWord(rest)
		return []string{"sh", "-c", text}, executable(next)
	}
	if !executable(first) {
		return []string{"sh", "-c", text}, false
	}
	return []string{"sh", "-c", "exec " + text}, true
}

// notExecutable are words that mean something to a shell at the beginning of a command, and that its exec can't run.
const notExecutable = ` ! { } [[ case do done elif else esac fi for function if in select then time until while coproc
	. : alias bg bind break builtin cd command continue declare dirs disown enable eval exec exit export fc fg getopts hash history
	jobs let local logout mapfile popd pushd read readarray readonly return set shift shopt source suspend times trap type typeset
	ulimit umask unalias unset wait `

// executable reports whether exec can run a command that begins with word.
func executable(word string) bool {
	return word != "" && word[0] != '-' && word[0] != '#' && !assigns(word) && !slices.Contains(strings.Fields(notExecutable), word)
}

// assigns reports whether word is an assignment, as FOO=1 in front of a command.
func assigns(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	name = strings.TrimSuffix(name, "+")
	if !ok || name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for _, c := range []byte(name) {
		if c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// firstWord gives the first word of text without its quotes, and what follows. ok: text is words and quotes alone,
// with nothing in it that a shell would have to stay alive for. A newline at the end is nothing.
func firstWord(text string) (word, rest string, ok bool) {
	end := strings.TrimRight(text, "\n")
	if !strings.HasSuffix(end, `\`) {
		text = end
	}
	l := shellLexer{text: text}
	for l.i < len(text) {
		if !l.next() {
			return "", "", false
		}
	}
	if l.rest == 0 {
		l.rest = len(text)
	}
	return l.word.String(), text[l.rest:], true
}

type shellLexer struct {
	text  string
	i     int
	word  strings.Builder // the first one
	begun bool            // it has
	rest  int             // offset behind it, 0 while it goes on
}

// next takes a character or a quoted string; false: not a simple command.
func (l *shellLexer) next() bool {
	switch c := l.text[l.i]; c {
	case ' ', '\t':
		if l.begun && l.rest == 0 {
			l.rest = l.i
		}
		l.i++
	case '\'':
		end := strings.IndexByte(l.text[l.i+1:], '\'')
		if end < 0 {
			return false
		}
		l.add(l.text[l.i+1 : l.i+1+end])
		l.i += end + 2
	case '"':
		return l.double()
	case '\\':
		if l.i+1 == len(l.text) {
			return false
		}
		if l.text[l.i+1] != '\n' { // else it joins two lines
			l.add(l.text[l.i+1 : l.i+2])
		}
		l.i += 2
	case ';', '&', '|', '<', '>', '(', ')', '`', '\n':
		return false
	default:
		l.add(l.text[l.i : l.i+1])
		l.i++
	}
	return true
}

// double takes a string in double quotes, in which a command may still stand.
func (l *shellLexer) double() bool {
	l.add("")
	for l.i++; l.i < len(l.text); l.i++ {
		switch c := l.text[l.i]; {
		case c == '"':
			l.i++
			return true
		case c == '`' || c == '$' && strings.HasPrefix(l.text[l.i+1:], "("):
			return false
		case c == '\\' && l.i+1 < len(l.text):
			l.i++
			l.add(l.text[l.i : l.i+1])
		default:
			l.add(l.text[l.i : l.i+1])
		}
	}
	return false
}

func (l *shellLexer) add(s string) {
	l.begun = true
	if l.rest == 0 {
		l.word.WriteString(s)
	}
}
