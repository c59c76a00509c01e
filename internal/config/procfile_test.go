package config

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// FuzzProcfile: of any bytes, services with good and different names, each with a command of one line that stands in the file where it is
// said to stand, or errors that a terminal can show and that have a place in the file.
func FuzzProcfile(f *testing.F) {
	for _, s := range []string{
		"web: npm run dev\nworker: bundle exec sidekiq\n", "# x\n\n  web:a\r\n", "web: a\nweb: b", "web:", ":", "a b: c", "web: a: b", "web: \x00", "\ufeffweb: a",
		"../x: a", "-rf: a", "web: \x1b]0;x\a", "WEB_1: exec ./a $PORT", "web\t:\ta\t", "web: a\\\n b",
	} {
		f.Add([]byte(s))
	}
	for _, c := range badProjects {
		f.Add([]byte(c.files[ProcfileName]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 || invalidUTF8(data) >= 0 {
			return // open refuses it
		}
		src := &source{name: ProcfileName}
		src.fill(data)
		l := &loader{root: "/p", project: &Project{}, envs: map[string]*envFile{}}
		lines := l.procLines(src)
		text := strings.Split(string(src.data), "\n")
		if err := l.problems.err(); err != nil {
			for _, line := range strings.Split(told(t, err), "\n") {
				require.Less(t, strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }), 0, "%q", line)
				require.True(t, utf8.ValidString(line))
			}
			for _, p := range l.problems.list {
				require.True(t, p.at.line >= 1 && p.at.line <= len(text), "line %d", p.at.line)
				require.True(t, p.at.column >= 1 && p.at.column <= len(text[p.at.line-1])+1, "column %d", p.at.column)
			}
			return
		}
		seen := map[string]bool{}
		for _, p := range lines {
			require.NoError(t, service.CheckName(p.name))
			require.False(t, seen[p.name])
			seen[p.name] = true
			require.Equal(t, strings.TrimSpace(p.command), p.command)
			require.NotEmpty(t, p.command)
			require.False(t, strings.ContainsAny(p.command, "\x00\n"))
			line := text[p.at.line-1][p.at.column-1:]
			require.True(t, strings.HasPrefix(line, p.name), "%q", line)
			require.Contains(t, line, p.command)
			cmd, _ := shellCommand(p.command)
			require.NoError(t, service.Spec{Name: p.name, Cmd: cmd, Dir: "/"}.CheckArgs(), "%q", cmd)
		}
	})
}
