package tty

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func mendAll(parts ...string) string {
	var l lineEnds
	var out []byte
	for _, p := range parts {
		out = append(out, l.mend([]byte(p))...)
	}
	return string(append(out, l.rest()...))
}

func TestLineEndsAreMendedAcrossParts(t *testing.T) {
	for _, c := range []struct {
		want  string
		parts []string
	}{
		{"a\nb\n", []string{"a\r\nb\r\n"}},
		{"a\nb", []string{"a\r", "\nb"}},
		{"a\rb", []string{"a\r", "b"}},
		{"a\r", []string{"a\r"}},
		{"a\r\n", []string{"a\r", "\r", "", "\n"}},
		{"\r\r\r", []string{"\r\r", "\r"}},
		{"10%\r20%\r\n", []string{"10%\r20%\r\r\n"}},
		{"\n\n", []string{"\n", "\r\n"}},
		{"", []string{""}},
	} {
		require.Equal(t, c.want, mendAll(c.parts...), "%q", c.parts)
	}
}

func FuzzLineEnds(f *testing.F) {
	f.Add("a\r\nb\r\r\n\r", 2, 5)
	f.Fuzz(func(t *testing.T, text string, i, j int) {
		i = int(uint(i) % uint(len(text)+1))
		j = i + int(uint(j)%uint(len(text)-i+1))
		require.Equal(t, strings.ReplaceAll(text, "\r\n", "\n"), mendAll(text[:i], text[i:j], text[j:]))
	})
}

func TestRecentIsWholeLinesWherePossible(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	long := strings.Repeat("y", keep)
	for name, c := range map[string]struct {
		parts []string
		want  string
	}{
		"nothing":            {nil, ""},
		"little":             {[]string{"half", " a line"}, "half a line"},
		"many lines":         {[]string{strings.Repeat(line, 1000)}, strings.Repeat(line, keep/100)},
		"the window fits":    {[]string{"a\n", strings.Repeat(line, 163), strings.Repeat("z", keep-16300-1) + "\n"}, strings.Repeat(line, 163) + strings.Repeat("z", keep-16300-1) + "\n"},
		"one long line":      {[]string{"a\n", "z", long}, long},
		"its end, and ended": {[]string{"z", long[1:], "\n"}, long[1:] + "\n"},
	} {
		var r recent
		for _, p := range c.parts {
			r.add([]byte(p))
		}
		require.Equal(t, c.want, string(r.last()), name)
	}
	var r recent
	for range 100_000 {
		r.add([]byte("ab\r\n"))
	}
	require.Equal(t, strings.Repeat("ab\r\n", keep/4), string(r.last()))
	require.LessOrEqual(t, cap(r.buf), 4*keep)
}
