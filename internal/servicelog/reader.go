package servicelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
	"unicode/utf8"
)

const (
	// maxLine is the longest Text; a longer line comes in parts.
	maxLine = 64 << 10

	// bufferSize holds two parts and what a read brings.
	bufferSize = 256 << 10
)

// A Line is a line of the log, or a part of one. After a Partial one comes what continues
// it, which may be empty.
type Line struct {
	Time    time.Time // when its first byte arrived
	Text    []byte    // without the newline; valid until the reader's next call
	Partial bool      // no newline follows: cut at 64 KiB, or it is not written yet
}

// A Reader reads a log from its files, whether a Writer works on it or not, and never
// holds one up. It begins at the beginning. It is for one goroutine at a time.
type Reader struct {
	dir   *os.File
	watch watch

	from    Position // where to begin when there is no view
	view    *view
	until   Position // where to end; zero: nowhere
	skipped int

	buf        []byte // buf[start:end] is read and not returned yet
	start, end int
	scanned    int // buf[start:start+scanned] has no newline
	spans      []span
	crossed    time.Time // when the bytes of an earlier segment in buf arrived
	skip       bool      // drop what is left of a line whose beginning was passed over
	inside     bool      // the last Line was Partial
	torn       bool      // what continues the line that has begun was removed unread
}

// A span is a run of bytes in the buffer that come from one segment.
type span struct {
	at Position
	n  int
}

// NewReader opens the log in dir for reading; fs.ErrNotExist when there is none. The
// caller closes it.
func NewReader(dir string) (*Reader, error) {
	d, err := openDir(nil, dir)
	if err != nil {
		return nil, err
	}
	numbers, err := segments(d)
	if err == nil && len(numbers) == 0 {
		err = fmt.Errorf("open log %s: it has no segment: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return &Reader{dir: d}, nil
}

// Close closes the files.
func (r *Reader) Close() error {
	r.move(Position{}, false)
	r.watch.close()
	return r.dir.Close()
}

// Position returns where the next Line begins.
func (r *Reader) Position() Position {
	switch {
	case len(r.spans) > 0:
		return r.spans[0].at
	case r.view != nil:
		return Position{r.view.number, r.view.offset}
	}
	return r.from
}

// Seek goes to p, usually one that Position returned. When that segment is not there any
// more, it is the next one that is, and Skipped counts; when there is none, or p is past
// the end of its segment, the log was made anew, and it is the beginning.
func (r *Reader) Seek(p Position) { r.move(p, false) }

func (r *Reader) move(p Position, skip bool) {
	if r.view != nil {
		r.view.close()
		r.view = nil
	}
	r.from, r.skip, r.skipped = p, skip, 0
	r.drop()
}

// drop forgets what is in the buffer.
func (r *Reader) drop() {
	r.start, r.end, r.scanned, r.spans = 0, 0, 0, r.spans[:0]
	r.inside, r.torn = false, false
}

// Next returns the next complete line, or part of one longer than 64 KiB. It does not
// wait: io.EOF means that there is none yet, and may be followed by lines later. A last
// line without its newline is left for Rest, or for Next once it is complete.
func (r *Reader) Next() (Line, error) {
	for {
		line, ok := r.cut()
		if ok && !r.skip {
			return line, nil
		}
		if ok {
			r.skip = line.Partial
			continue
		}
		if err := r.fill(); err != nil {
			return Line{}, err
		}
	}
}

// Rest returns what stands at the end of the log without a newline, as a Partial line;
// false when there is nothing. It is for after Next said io.EOF. What it returned does not
// come again: the next Line continues it.
func (r *Reader) Rest() (Line, bool) {
	n := r.end - r.start
	if n == 0 {
		return Line{}, false
	}
	line := r.take(n, 0)
	return line, !r.skip
}

// Skipped returns how many segments were removed before they were read to their end, since
// the last Seek, Tail or Since. One that was removed while it was not open counts, even if
// Seek was to its very end.
func (r *Reader) Skipped() int { return r.skipped }

// cut takes a line or a part off the buffer; false when it needs more bytes for that.
func (r *Reader) cut() (Line, bool) {
	pending := r.buf[r.start:r.end]
	window := pending[:min(len(pending), maxLine+1)]
	if i := indexNewline(window, r.scanned); i >= 0 {
		return r.take(i, 1), true
	}
	r.scanned = len(window)
	if len(pending) <= maxLine {
		if !r.torn {
			return Line{}, false
		}
		line := r.take(len(pending), 0)
		r.inside, r.torn, line.Partial = false, false, false // nothing will continue it
		return line, true
	}
	return r.take(runeBoundary(window, maxLine), 0), true
}

// take takes n bytes of text, and newline (0 or 1) after them, off the buffer.
func (r *Reader) take(n, newline int) Line {
	line := Line{Time: r.arrived(), Text: r.buf[r.start : r.start+n : r.start+n], Partial: newline == 0}
	r.inside = line.Partial
	n += newline
	r.start += n
	r.scanned = 0
	for n > 0 {
		s := &r.spans[0]
		k := min(n, s.n)
		s.at.Offset += int64(k)
		s.n -= k
		n -= k
		if s.n == 0 {
			r.spans = r.spans[1:]
		}
	}
	return line
}

// arrived tells when the first byte in the buffer arrived.
func (r *Reader) arrived() time.Time {
	if len(r.spans) > 0 && r.spans[0].at.Segment == r.view.number {
		return r.view.arrived(r.spans[0].at.Offset)
	}
	return r.crossed
}

// fill reads more into the buffer, or finds that there is no more of the line in it; io.EOF
// at the head of the log.
func (r *Reader) fill() error {
	if r.view == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	r.makeRoom()
	for {
		n, err := r.view.read(r.buf[r.end : r.end+r.unread()])
		if n > 0 {
			r.push(n)
			return nil
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		if r.view.offset > r.view.size { // somebody emptied the file: it begins anew
			r.drop()
			r.view.offset = 0
			continue
		}
		if r.ended() {
			return io.EOF
		}
		if err := r.cross(); err != nil || r.torn {
			return err
		}
	}
}

func (r *Reader) makeRoom() {
	if r.buf == nil {
		r.buf = make([]byte, bufferSize)
	}
	if r.start > 0 && len(r.buf)-r.end < maxLine {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
}

func (r *Reader) push(n int) {
	at := Position{r.view.number, r.view.offset - int64(n)}
	if k := len(r.spans); k > 0 && r.spans[k-1].at.Segment == at.Segment {
		r.spans[k-1].n += n
	} else {
		r.spans = append(r.spans, span{at, n})
	}
	r.end += n
}

// cross goes from the end of a segment to the next one, in two calls: the first finds that
// there is one, and so that this one is complete; only what is read after that and ends
// there is its end.
func (r *Reader) cross() error {
	number, err := r.following()
	if err != nil {
		return err
	}
	if number == 0 {
		return io.EOF
	}
	if !r.view.sealed {
		r.view.sealed = true
		return nil
	}
	next, err := openView(r.dir, number, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since it was listed
	}
	if err != nil {
		return err
	}
	gap := max(0, number-r.view.number-1)
	r.skipped += gap
	next.floor = r.view.last()
	switch {
	case r.start < r.end:
		r.crossed, r.torn = r.arrived(), gap > 0
	case r.inside:
		r.crossed, r.torn = time.Unix(0, next.floor), gap > 0
	}
	r.view.close()
	r.view = next
	return nil
}

// following returns the number of the segment after this one, and 0 when there is none.
func (r *Reader) following() (int, error) {
	numbers, err := segments(r.dir)
	if err != nil || len(numbers) == 0 {
		return 0, err
	}
	for _, n := range numbers {
		if n > r.view.number {
			return n, nil
		}
	}
	if r.view.removed { // all were removed, and the log began anew
		return numbers[0], nil
	}
	return 0, nil
}

// open opens the segment where reading is to begin; io.EOF when there is none.
func (r *Reader) open() error {
	for {
		numbers, err := segments(r.dir)
		if err != nil {
			return err
		}
		if len(numbers) == 0 {
			return io.EOF
		}
		at := Position{Segment: numbers[0]}
		if i, there := slices.BinarySearch(numbers, r.from.Segment); there {
			at = r.from
		} else if i < len(numbers) {
			at.Segment = numbers[i]
		}
		v, err := openView(r.dir, at.Segment, at.Offset)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			return err
		}
		r.view = v
		if r.from.Segment > 0 {
			r.skipped += max(0, at.Segment-r.from.Segment)
		}
		return nil
	}
}

// indexNewline is bytes.IndexByte for what stands at from or later.
func indexNewline(b []byte, from int) int {
	i := bytes.IndexByte(b[from:], '\n')
	if i < 0 {
		return -1
	}
	return from + i
}

// runeBoundary returns where to cut b at n or a little before, so as not to cut a
// character of UTF-8 in two.
func runeBoundary(b []byte, n int) int {
	for k := n; k > n-utf8.UTFMax; k-- {
		if utf8.RuneStart(b[k]) {
			return k
		}
	}
	return n
}
