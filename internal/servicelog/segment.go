package servicelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// moved is the outcome of one step from the FIFO to the segment.
type moved struct {
	written    int   // bytes that are in the segment now
	lost       int   // bytes that left the FIFO and are nowhere
	more       bool  // all that was allowed: the FIFO may hold more
	segmentErr error // why some were lost
	indexErr   error // why written bytes have no time yet
	fifoErr    error // EAGAIN: the FIFO is empty; anything else ends the mover
}

func (m moved) taken() int { return m.written + m.lost }

// A segment is the file being written, with its index. One step at a time.
type segment struct {
	dir    *os.File
	number int
	file   *os.File
	dev    uint64 // of the file, as its name
	ino    uint64
	name   string
	offset int64 // where the next byte goes; the size of the file
	limit  int64 // where it ends, line or not; 0 until it has reached Max
	index  *index
}

// openLast opens the last segment of dir, or makes the first.
func openLast(dir *os.File) (*segment, error) {
	numbers, err := segments(dir)
	if err != nil {
		return nil, err
	}
	number := 1
	if len(numbers) > 0 {
		number = numbers[len(numbers)-1]
	}
	return openSegment(dir, number)
}

// openSegment opens or makes a segment. The index is made before the segment, so that
// who sees the segment finds its index. The size of the file is the truth: a predecessor
// may have been killed between the move and its record.
func openSegment(dir *os.File, number int) (*segment, error) {
	// Not O_APPEND: splice(2) refuses that with EINVAL.
	file, st, err := openRegular(dir, segmentName(number), unix.O_RDWR)
	made := errors.Is(err, fs.ErrNotExist)
	if err != nil && !made {
		return nil, err
	}
	x, err := openIndex(dir, indexName(number), st.Size, time.Unix(st.Mtim.Unix()))
	if err == nil && made {
		file, st, err = openRegular(dir, segmentName(number), unix.O_RDWR|unix.O_CREAT)
	}
	s := &segment{dir: dir, number: number, file: file, dev: uint64(st.Dev), ino: st.Ino, name: segmentName(number), offset: st.Size, index: x}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close closes the files, those that are open.
func (s *segment) close() {
	if s.file != nil {
		s.file.Close()
	}
	if s.index != nil {
		s.index.file.Close()
	}
}

// take moves up to limit bytes out of the FIFO. It does not wait for any.
func (s *segment) take(fifo, limit int) moved {
	m := move(fifo, int(s.file.Fd()), s.offset, limit)
	m.more = m.written == limit
	if m.written > 0 {
		s.offset += int64(m.written)
		m.indexErr = s.index.append(s.offset, time.Now())
	}
	return m
}

// verify follows what people do to a log that is being written: "> 00000001.log" empties
// it, and without this the next write would leave a hole of NULs as long as the old log;
// "rm *.log" removes it, "mv" gives it another name, and everything later would go where
// nobody sees it. Where the directory is gone, too, the error wraps fs.ErrNotExist.
func (s *segment) verify() error {
	var st unix.Stat_t
	err := unix.Fstatat(int(s.dir.Fd()), s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && err != unix.ENOENT { // the directory may be closed, even to us
		err = unix.Fstat(int(s.file.Fd()), &st)
	}
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("stat log file %s: %w", s.file.Name(), err)
	}
	if err != nil || st.Ino != s.ino || uint64(st.Dev) != s.dev {
		return s.replace(s.number + 1)
	}
	if st.Size == s.offset {
		return nil
	}
	s.offset = st.Size
	_ = s.index.cut(st.Size, -1) // costs times, not lines
	return nil
}

// replace goes on in another segment.
func (s *segment) replace(number int) error {
	next, err := openSegment(s.dir, number)
	if err != nil {
		return err
	}
	if next.index.n == 0 { // for what the clock does in between
		next.index.last.nanos = s.index.last.nanos
	}
	s.close()
	*s = *next
	return nil
}
