package client

import (
	"regexp"
	"slices"

	"github.com/hobworks/hob/internal/servicelog"
)

// grep lets whole lines through: a part is kept until its line has matched, and then the rest of
// the line follows at once. One is for one log.
type grep struct {
	re     *regexp.Regexp // nil: all
	joined servicelog.Joiner
	kept   []servicelog.Line // of this line, which has not matched yet
	inside bool              // the last line was a part
	wanted bool              // this line has matched
}

// keptParts is how many parts of a line are kept: as much as the Joiner looks at.
const keptParts = 4

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
		return append(g.kept, line)
	}
	if line.Partial {
		line.Text = slices.Clone(line.Text)
		g.kept = append(g.kept[max(0, len(g.kept)+1-keptParts):], line)
	}
	return nil
}
