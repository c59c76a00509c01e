package servicelog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A view is one segment open for reading. What it knows of the segment is from its last
// refresh.
type view struct {
	dir     *os.File
	number  int
	file    *os.File
	offset  int64 // of the next byte to read
	size    int64
	mtime   time.Time
	removed bool
	sealed  bool // a later segment exists: this one does not grow any more
	index   indexView
	known   stretch // the last answer of arrived
	floor   int64   // when the last byte before this segment arrived
}

// openView opens a segment at offset; fs.ErrNotExist when it is not there.
func openView(dir *os.File, number int, offset int64) (*view, error) {
	file, _, err := openRegular(dir, segmentName(number), unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	v := &view{dir: dir, number: number, file: file, offset: offset}
	if err := v.refresh(); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *view) close() {
	v.file.Close()
	if v.index.file != nil {
		v.index.file.Close()
	}
}

// refresh learns what the segment and its index are now. The segment first: then bytes
// that the index does not cover are those of a step that had not reached its record, and
// mtime is no later than the time that record will have, so times never go back.
func (v *view) refresh() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(v.file.Fd()), &st); err != nil {
		return fmt.Errorf("stat log file %s: %w", v.file.Name(), err)
	}
	v.size, v.mtime, v.removed = st.Size, time.Unix(st.Mtim.Unix()), st.Nlink == 0
	if v.index.file == nil {
		// Whatever the error, lines are readable without an index.
		v.index.file, _, _ = openRegular(v.dir, indexName(v.number), unix.O_RDONLY)
	}
	v.index.refresh()
	v.known = stretch{}
	return nil
}

// read reads what follows, without waiting; io.EOF at the end of the segment.
func (v *view) read(buf []byte) (int, error) {
	if err := v.refresh(); err != nil {
		return 0, err
	}
	left := v.size - v.offset
	if left <= 0 {
		return 0, io.EOF
	}
	n, err := v.file.ReadAt(buf[:min(int64(len(buf)), left)], v.offset)
	v.offset += int64(n)
	if n > 0 {
		return n, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read log file: %w", err)
	}
	return 0, io.EOF // cut since the refresh
}

// last tells when the last byte that has been read arrived, or one before it.
func (v *view) last() int64 {
	if v.offset == 0 {
		return v.floor
	}
	return v.arrived(v.offset - 1).UnixNano()
}

// arrived tells when the byte at offset arrived.
func (v *view) arrived(offset int64) time.Time {
	if offset < v.known.start || offset >= v.known.end {
		s, after, ok := v.index.find(offset, v.size)
		if !ok {
			s = stretch{offset, v.size, max(v.mtime.UnixNano(), after)}
		}
		v.known = s
	}
	nanos := v.known.nanos
	// A file's times are of the last tick of the clock, so earlier than the record before.
	if back := v.floor - nanos; back > 0 && back < int64(maxClockStep) {
		nanos = v.floor
	}
	return time.Unix(0, nanos)
}

// begins tells whether a line begins at p: at the beginning of the log and after every
// newline, which may be in an earlier segment.
func begins(dir *os.File, numbers []int, p Position) (bool, error) {
	for i := len(numbers) - 1; i >= 0; i-- {
		if numbers[i] > p.Segment {
			continue
		}
		file, st, err := openRegular(dir, segmentName(numbers[i]), unix.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		end := st.Size
		if numbers[i] == p.Segment {
			end = min(p.Offset, end)
		}
		var last [1]byte
		if end > 0 {
			_, err = file.ReadAt(last[:], end-1)
		}
		file.Close()
		if end > 0 {
			return last[0] == '\n', err
		}
	}
	return true, nil
}
