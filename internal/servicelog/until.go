package servicelog

// Until makes end the end of the log for this Reader: Next, Follow and Wait return io.EOF
// there, and nothing that was written later is seen, not even the rest of the line that end
// is inside. Rest returns the beginning of such a line; Follow returns it, Partial, before
// io.EOF. It holds until the next call of Until, through Seek, Tail and Since. Tail counts
// back from it; Since does not know of it. The zero Position is no end.
func (r *Reader) Until(end Position) {
	r.move(r.Position(), r.skip) // what is in the buffer may be past it
	r.until = end
}

// unread returns how many bytes may be read into the buffer.
func (r *Reader) unread() int {
	n := len(r.buf) - r.end
	switch {
	case r.until == Position{} || r.view.number < r.until.Segment:
		return n
	case r.view.number > r.until.Segment: // that one was removed
		return 0
	}
	return int(min(int64(n), max(0, r.until.Offset-r.view.offset)))
}

// ended tells whether everything before Until has been read.
func (r *Reader) ended() bool {
	at := r.from
	if r.view != nil {
		at = Position{r.view.number, r.view.offset}
	}
	return r.until != Position{} && !at.Before(r.until)
}
