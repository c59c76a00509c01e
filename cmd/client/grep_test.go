package client

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/servicelog"
)

// TestGrepLetsWholeLinesThrough: whichever part of a line it is that matches, and also where it takes two.
func TestGrepLetsWholeLinesThrough(t *testing.T) {
	for _, c := range []struct{ re, parts, want string }{
		{"", "a|b/c|", "a|b/c|"},
		{"b", "a|b|c|", "b|"},
		{"foo", "foo/rest|other|foo2|", "foo/rest|foo2|"},
		{"foo", "rest/foo/more|other|", "restfoo/more|"},
		{"done", "Building/./././././ done|", "Building..... done|"},
		{"Starting.*done", "Starting /done|done|", "Starting done|"},
		{"^done", "Starting /done|done|", "done|"},
		{"none", "a/b/c|d/", ""},
		{"red", "\x1b[31mr\x1b[0med|", "\x1b[31mr\x1b[0med|"},
	} {
		g := grep{}
		if c.re != "" {
			g.re = regexp.MustCompile(c.re)
		}
		var got strings.Builder
		for rest := c.parts; rest != ""; {
			n := strings.IndexAny(rest, "|/")
			part, end := rest[:n], rest[n]
			rest = rest[n+1:]
			if line, ok := g.add(servicelog.Line{Text: []byte(part), Partial: end == '/'}); ok {
				got.Write(line.Text)
				got.WriteByte(map[bool]byte{true: '/', false: '|'}[line.Partial])
			}
		}
		require.Equal(t, c.want, got.String(), "%+v", c)
	}
}

// TestLogsOfLongLinesThatMatch: they are read in parts, and shown whole or not at all.
func TestLogsOfLongLinesThatMatch(t *testing.T) {
	p := newProject(t)
	long := strings.Repeat("x", 150<<10)
	p.log("web").say("foo" + long + "\nno\n" + long + "foo\n" + long + "\nfoo2\n")
	_, stdout, _ := p.hob("logs", "-g", "foo", "web")
	require.Equal(t, "foo"+long+"\n"+long+"foo\nfoo2\n", stdout)
	_, stdout, _ = p.hob("logs", "-g", "^foo", "-n", "1", "web")
	require.Equal(t, "foo2\n", stdout)
	_, stdout, _ = p.hob("logs", "--json", "-n", "5", "web")
	require.Equal(t, 6, strings.Count(stdout, `"partial":true`), "three long lines of three parts each")
}
