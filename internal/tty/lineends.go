package tty

// lineEnds leaves out each "\r" directly before "\n", across the parts of a text.
type lineEnds struct {
	held bool // the part before ended in "\r"
	buf  []byte
}

// mend gives the part without them. The result is good until the next call.
func (l *lineEnds) mend(part []byte) []byte {
	out := l.buf[:0]
	for _, c := range part {
		if l.held && c != '\n' {
			out = append(out, '\r')
		}
		if l.held = c == '\r'; !l.held {
			out = append(out, c)
		}
	}
	l.buf = out
	return out
}

// rest is what was held back until the end.
func (l *lineEnds) rest() []byte {
	if !l.held {
		return nil
	}
	l.held = false
	return []byte{'\r'}
}
