package servicelog

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Tail goes to where n lines follow, or to the beginning when there are fewer. A last line
// without a newline counts. Tail(0) goes to the end. It reads backwards, and no more than
// those lines.
func (r *Reader) Tail(n int) error {
	for {
		numbers, err := segments(r.dir)
		if err != nil {
			return err
		}
		at, err := tail(r.dir, numbers, n, r.until)
		if errors.Is(err, errRemoved) {
			continue
		}
		if err == nil {
			r.move(at, false)
		}
		return err
	}
}

// errRemoved says that the log went on, and its last segment was removed or emptied, between a
// look at the directory and a look at the segment.
var errRemoved = errors.New("removed since it was listed")

// tail returns where n lines follow in the segments that were listed, up to until if that is not zero.
func tail(dir *os.File, numbers []int, n int, until Position) (Position, error) {
	b := backward{left: n, until: until}
	for i, number := range slices.Backward(numbers) {
		if until != (Position{}) && number > until.Segment {
			continue
		}
		found, err := b.segment(dir, number)
		switch {
		case found:
			return b.at, nil
		case err == nil:
		case !errors.Is(err, fs.ErrNotExist):
			return Position{}, err
		case i == len(numbers)-1:
			return Position{}, errRemoved
		default: // and so are those before it
			return Position{}, nil
		}
	}
	return Position{}, nil
}

// backward looks for the beginning of the line that is left lines from the end.
type backward struct {
	left  int
	until Position
	begun bool // the last byte of the log has been seen
	at    Position
	block []byte
}

// segment goes through one segment from its end; true when at is what was looked for.
func (b *backward) segment(dir *os.File, number int) (bool, error) {
	file, st, err := openRegular(dir, segmentName(number), unix.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer file.Close()
	size := st.Size
	if number == b.until.Segment {
		size = min(size, b.until.Offset)
	}
	if b.left <= 0 && !b.begun {
		b.at = Position{number, size}
		return true, nil
	}
	if b.block == nil {
		b.block = make([]byte, copyChunk)
	}
	for end := size; end > 0; {
		block := b.block[:min(end, int64(len(b.block)))]
		end -= int64(len(block))
		n, err := file.ReadAt(block, end)
		if n < len(block) && errors.Is(err, io.EOF) { // the file was cut while we read it
			return false, errRemoved
		}
		if n < len(block) {
			return false, err
		}
		if i, ok := b.scan(block); ok {
			b.at = Position{number, end + int64(i)}
			return true, nil
		}
	}
	return false, nil
}

// scan counts the newlines of a block from its end; true with where the line begins.
func (b *backward) scan(block []byte) (int, bool) {
	if !b.begun {
		b.begun = true
		if n := len(block) - 1; block[n] == '\n' { // ends the last line, begins none
			block = block[:n]
		}
	}
	for {
		i := bytes.LastIndexByte(block, '\n')
		if i < 0 {
			return 0, false
		}
		if b.left--; b.left == 0 {
			return i + 1, true
		}
		block = block[:i]
	}
}

// Since goes to the first line that arrived at t or later, and to the end when there is
// none. A line arrives with its first byte. It searches the index, so where the clock was
// set back by more than a minute or the index is damaged it may begin at another line.
func (r *Reader) Since(t time.Time) error {
	for {
		numbers, err := segments(r.dir)
		if err != nil {
			return err
		}
		at, whole, err := since(r.dir, numbers, t)
		if errors.Is(err, errRemoved) {
			continue
		}
		if err == nil {
			r.move(at, !whole)
		}
		return err
	}
}

// since returns where to begin in the segments that were listed, and whether a line begins
// there.
func since(dir *os.File, numbers []int, t time.Time) (at Position, whole bool, err error) {
	for i, number := range numbers {
		v, err := openView(dir, number, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if i == len(numbers)-1 {
				return at, false, errRemoved
			}
			continue
		}
		if err != nil {
			return at, false, err
		}
		offset, found := v.since(t)
		at = Position{number, offset}
		v.close()
		if found {
			break
		}
	}
	whole, err = begins(dir, numbers, at)
	return at, whole, err
}

// since returns where the bytes begin that arrived at t or later; the end and false when
// there are none.
func (v *view) since(t time.Time) (int64, bool) {
	offset, found := v.index.since(unixNano(t), v.size)
	if !found && offset < v.size { // the index does not reach the end
		found = !v.arrived(offset).Before(t)
	}
	if !found {
		return v.size, false
	}
	return offset, offset < v.size
}

// unixNano is t.UnixNano, and the nearest that there is for years it cannot say.
func unixNano(t time.Time) int64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return t.UnixNano()
}
