package client

import (
	"strings"
	"unicode/utf8"
)

// A sanitizer makes lines that a service wrote harmless to whoever looks at them. It leaves out
// control characters other than the tab, and escape sequences: CSI, OSC and the other strings of
// ECMA-48, in their 7-bit and 8-bit forms. It keeps its state over the parts of a line, since a sequence
// may be cut in two.
type sanitizer struct {
	colors   bool // let SGR sequences (ESC [ … m) pass
	terminal bool // also make invalid UTF-8 U+FFFD and leave out what reorders text

	state   sanitizerState
	seq     []byte // the CSI sequence so far
	held    []byte // the beginning of a character, at the end of a part
	lead    bool   // the last byte that passed was a lone 0xc2
	painted bool   // the last SGR sequence that passed was not a reset
}

type sanitizerState int

const (
	inText   sanitizerState = iota
	inEscape                // after ESC, and intermediates
	inCSI                   // after ESC [
	inString                // after ESC ], P, X, ^ or _, until BEL or ST
	inStringEscape
)

// maxCSI is far longer than any sequence that means a colour.
const maxCSI = 64

// line appends the line, or with partial a part of one, to dst.
func (s *sanitizer) line(dst, text []byte, partial bool) []byte {
	if len(s.held) > 0 {
		text = append(s.held, text...)
		s.held = nil
	}
	if s.state == inText && clean(text) {
		dst = append(dst, text...)
		s.lead = s.lead && len(text) == 0
	} else {
		dst = s.slow(dst, text, partial)
	}
	if !partial {
		// A sequence doesn't go over the end of its line: one that was never ended would hide
		// everything that follows.
		s.state, s.seq, s.held, s.lead = inText, s.seq[:0], nil, false
	}
	return dst
}

// clean reports whether text is printable ASCII and tabs.
func clean(text []byte) bool {
	for _, c := range text {
		if (c < 0x20 && c != '\t') || c >= 0x7f {
			return false
		}
	}
	return true
}

func (s *sanitizer) slow(dst, text []byte, partial bool) []byte {
	for len(text) > 0 {
		if partial && !utf8.FullRune(text) {
			s.held = append(s.held, text...)
			return dst
		}
		r, n := utf8.DecodeRune(text)
		dst = s.rune(dst, r, text[:n])
		text = text[n:]
	}
	return dst
}

// rune deals with one character, raw in the text, in whatever state.
func (s *sanitizer) rune(dst []byte, r rune, raw []byte) []byte {
	switch s.state {
	case inText:
		return s.text(dst, r, raw)
	case inEscape:
		return s.escape(dst, r, raw)
	case inCSI:
		return s.csi(dst, r, raw)
	case inString:
		switch r {
		case 0x07, 0x9c:
			s.state = inText
		case 0x1b:
			s.state = inStringEscape
		}
		return dst
	default:
		if r == '\\' {
			s.state = inText
			return dst
		}
		return s.escape(dst, r, raw) // ESC ends a string, whatever follows
	}
}

func (s *sanitizer) text(dst []byte, r rune, raw []byte) []byte {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		if s.terminal {
			return utf8.AppendRune(dst, utf8.RuneError)
		}
		// Two bytes can become an 8-bit control character when what stood between them is left out.
		if s.lead && raw[0] < 0xa0 {
			return dst
		}
	case r == '\t':
	case r == 0x1b:
		s.state = inEscape
		return dst
	case r == 0x9b:
		s.state, s.seq = inCSI, s.seq[:0]
		return dst
	case r == 0x90 || r == 0x98 || r >= 0x9d && r <= 0x9f:
		s.state = inString
		return dst
	case r < 0x20 || r >= 0x7f && r < 0xa0:
		return dst
	case s.terminal && reorders(r):
		return dst
	}
	s.lead = len(raw) == 1 && raw[0] == 0xc2
	return append(dst, raw...)
}

// reorders reports whether r is an override, embedding or isolate of the bidirectional
// algorithm, which can make a line look like another one (trojansource.codes).
func reorders(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

func (s *sanitizer) escape(dst []byte, r rune, raw []byte) []byte {
	switch {
	case r == 0x1b:
		s.state = inEscape
	case r == '[':
		s.state, s.seq = inCSI, s.seq[:0]
	case r == ']' || r == 'P' || r == 'X' || r == '^' || r == '_':
		s.state = inString
	case r >= 0x20 && r < 0x30: // an intermediate; the final character is to come
		s.state = inEscape
	case r >= 0x30 && r < 0x7f:
		s.state = inText
	default:
		s.state = inText
		return s.text(dst, r, raw)
	}
	return dst
}

func (s *sanitizer) csi(dst []byte, r rune, raw []byte) []byte {
	switch {
	case r >= 0x20 && r < 0x40:
		if len(s.seq) <= maxCSI {
			s.seq = append(s.seq, byte(r))
		}
	case r >= 0x40 && r < 0x7f:
		s.state = inText
		if r == 'm' && s.colors && isSGR(s.seq) {
			s.painted = !isReset(s.seq)
			dst = append(append(append(dst, "\x1b["...), s.seq...), 'm')
		}
	default:
		s.state = inText
		return s.text(dst, r, raw)
	}
	return dst
}

// isSGR tells the parameters of a colour from those of other sequences that end in m.
func isSGR(seq []byte) bool {
	for _, c := range seq {
		if (c < '0' || c > '9') && c != ';' && c != ':' {
			return false
		}
	}
	return len(seq) <= maxCSI
}

func isReset(seq []byte) bool { return strings.Trim(string(seq), "0;") == "" }

// harmless is text without control characters and sequences, for messages; newlines stay.
func harmless(text string) string {
	if clean([]byte(text)) {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		s := sanitizer{terminal: true}
		lines[i] = string(s.line(nil, []byte(line), false))
	}
	return strings.Join(lines, "\n")
}

// oneLine is harmless text on one line.
func oneLine(text string) string {
	return strings.ReplaceAll(harmless(text), "\n", " ")
}
