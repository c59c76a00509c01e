package client

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func sanitized(s sanitizer, text string) string { return string(s.line(nil, []byte(text), false)) }

func TestEscapesAreLeftOut(t *testing.T) {
	file, screen := sanitizer{}, sanitizer{colors: true, terminal: true}
	for _, c := range []struct{ in, file, screen string }{
		{"plain\ttext", "plain\ttext", "plain\ttext"},
		{"naïve 日本 🎉", "naïve 日本 🎉", "naïve 日本 🎉"},
		{"\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m"},
		{"\x1b[38;2;1;2;3mx\x1b[4:3my", "xy", "\x1b[38;2;1;2;3mx\x1b[4:3my"},
		{"\x1b[>4;2mx", "x", "x"},                     // xterm's keyboard, not a colour
		{"\x1b[2Jx\x1b[1;1Hy\x1b[?1049h", "xy", "xy"}, // clear, move, alternate screen
		{"\x1b]0;title\x07x", "x", "x"},
		{"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link", "link"},
		{"\x1b]52;c;cm0gLXJm\x07x", "x", "x"}, // the clipboard
		{"\x1bPq#0~~\x1b\\x", "x", "x"},
		{"\x1b_payload\x1b\\x", "x", "x"},
		{"\x1b(0x\x1bcy", "xy", "xy"}, // character set, reset
		{"a\rb\bc\ad\x00e\x7f", "abcde", "abcde"},
		{"\u009b31mx\u0085y\u009d0;t\u009cz", "xyz", "\x1b[31mxyz"}, // 8-bit forms
		{"bad\xff\x9b31m", "bad\xff\x9b31m", "bad��31m"},            // not UTF-8: bytes for a file
		{"a\u202eb\u2066c", "a\u202eb\u2066c", "abc"},
		{"\xc2\x01\x9b31m", "\xc231m", "��31m"}, // nothing may be put together
		{"end\x1b", "end", "end"},
		{"end\x1b[31", "end", "end"},
		{"x\x1b[" + strings.Repeat("1;", 60) + "my", "xy", "xy"},
		{"x\x1b[3\x1b[32my", "xy", "x\x1b[32my"},
	} {
		require.Equal(t, c.file, sanitized(file, c.in), "%q into a file", c.in)
		require.Equal(t, c.screen, sanitized(screen, c.in), "%q on a terminal", c.in)
	}
}

// TestSequenceEndsWithItsLine: one that was never ended hides nothing of the next line.
func TestSequenceEndsWithItsLine(t *testing.T) {
	var s sanitizer
	require.Equal(t, "a", string(s.line(nil, []byte("a\x1b]0;never ended"), false)))
	require.Equal(t, "b", string(s.line(nil, []byte("b"), false)))
}

// FuzzSanitize: nothing but text, tabs and, where they may, colours comes out; on a terminal it is
// valid UTF-8; and it makes no difference where a line is cut.
func FuzzSanitize(f *testing.F) {
	for _, seed := range []string{"plain", "\x1b[31mred\x1b[0m", "\x1b]0;t\x07", "\u009b1mx", "\xff\xc3", "\x1b[\x1b\x1b]\x1b\\", "é\u202e\u200f日"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		for _, s := range []sanitizer{{}, {colors: true}, {terminal: true}, {colors: true, terminal: true}} {
			whole, parts := s, s
			out := whole.line(nil, text, false)
			checkHarmless(t, s, out)
			cut = max(0, min(cut, len(text)))
			two := parts.line(nil, text[:cut:cut], true)
			two = parts.line(two, text[cut:], false)
			require.Equal(t, string(out), string(two), "cut at %d", cut)
		}
	})
}

func checkHarmless(t *testing.T, s sanitizer, out []byte) {
	t.Helper()
	if s.terminal && !utf8.Valid(out) {
		t.Fatalf("%q is not UTF-8", out)
	}
	for rest := out; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == 0x1b:
			end := bytes.IndexByte(rest, 'm')
			if !s.colors || end < 2 || rest[1] != '[' || !isSGR(rest[2:end]) {
				t.Fatalf("%q has an escape sequence", out)
			}
			n = end + 1
		case r == utf8.RuneError && n == 1:
		case r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || s.terminal && reorders(r):
			t.Fatalf("%q has a control character", out)
		}
		rest = rest[n:]
	}
}
