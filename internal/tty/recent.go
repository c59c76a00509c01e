package tty

import "bytes"

// keep is how much of what was written last somebody who comes later is shown.
const keep = 16 << 10

// recent remembers what was written last.
type recent struct {
	buf []byte // at most twice what is shown, so that each byte is moved once
}

func (r *recent) add(p []byte) {
	if len(r.buf)+len(p) > 2*keep {
		// One byte more than is shown tells whether a line begins there.
		r.buf = append(r.buf[:0], r.buf[max(0, len(r.buf)-keep-1):]...)
	}
	r.buf = append(r.buf, p...)
}

// last copies up to keep bytes, from the beginning of a line, unless they are all of one line.
func (r *recent) last() []byte {
	from := max(0, len(r.buf)-keep)
	if from > 0 && r.buf[from-1] != '\n' {
		if i := bytes.IndexByte(r.buf[from:], '\n') + 1; i > 0 && from+i < len(r.buf) {
			from += i
		}
	}
	return bytes.Clone(r.buf[from:])
}
