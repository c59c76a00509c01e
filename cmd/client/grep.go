package client

import (
	"regexp"
	"time"

	"github.com/hobworks/hob/internal/servicelog"
)

// grep lets whole lines through: nothing of a line is shown until it has matched, and then the rest of it follows at
// once. One is for one log.
type grep struct {
	re     *regexp.Regexp // nil: all
	joined servicelog.Joiner
	began  time.Time // when the first part of this line arrived
	inside bool      // the last line was a part
	wanted bool      // this line has matched
}

// add returns what is to be shown now; false for nothing. It is valid until the next call.
func (g *grep) add(line servicelog.Line) (servicelog.Line, bool) {
	if g.re == nil {
		return line, true
	}
	if !g.inside {
		g.began, g.wanted = line.Time, false
	}
	text := g.joined.Add(line)
	g.inside = line.Partial
	if g.wanted {
		return line, true
	}
	var s sanitizer
	g.wanted = g.re.Match(s.line(nil, text, false))
	return servicelog.Line{Time: g.began, Text: text, Partial: line.Partial}, g.wanted
}
