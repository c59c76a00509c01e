package client

import (
	"regexp"

	"github.com/hobworks/hob/internal/servicelog"
)

// grep lets whole lines through: a part is kept until its line has matched, and then the rest of
// the line follows at once. One is for one log.
type grep struct {
	re     *regexp.Regexp // nil: all
	joined servicelog.Joiner
	kept   *servicelog.Line // of this line, which has not matched yet; nil: nothing
	inside bool             // the last line was a part
	wanted bool             // this line has matched
}

// keptBytes is how much of a line is kept: as much as the Joiner looks at.
const keptBytes = 256 << 10

// add returns what is to be shown now. It is valid until the next call.
func (g *grep) add(line servicelog.Line) []servicelog.Line {
	if g.re == nil {
		return []servicelog.Line{line}
	}
	if !g.inside {
		g.kept, g.wanted = nil, false
	}
	text := g.joined.Add(line)
	g.inside = line.Partial
	if g.wanted {
		return []servicelog.Line{line}
	}
	var s sanitizer
	if g.wanted = g.re.Match(s.line(nil, text, false)); g.wanted {
		if g.kept != nil {
			return []servicelog.Line{*g.kept, line}
		}
		return []servicelog.Line{line}
	}
	if line.Partial {
		g.keep(line)
	}
	return nil
}

// keep adds a part to what is kept.
func (g *grep) keep(part servicelog.Line) {
	if g.kept == nil {
		g.kept = &servicelog.Line{Time: part.Time, Partial: true}
	}
	text := append(g.kept.Text, part.Text...)
	g.kept.Text = text[max(0, len(text)-keptBytes):]
}
