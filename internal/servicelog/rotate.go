package servicelog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// peekSize is how far one look ahead goes for the end of a line.
	peekSize = 16 << 10

	// indexRoom is what an index may have however small Max is.
	indexRoom = 1 << 20

	// retryAfter is how long the old segment goes on when there can be no new one: each
	// try costs the service system calls, and what is missing does not come back at once.
	retryAfter = time.Second
)

// A rotation says when a segment ends, and what is kept.
type rotation struct {
	max   int64 // 0: never
	keep  int
	retry time.Time // the last try failed; the next is not before
	stuck bool      // and that has been said
}

// SetLimits changes Options.Max to limit and Options.Keep to keep, from the next move on.
// What is more than keep is removed at once, unless limit is 0.
func (w *Writer) SetLimits(limit int64, keep int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limits = rotation{max: limit, keep: max(0, keep), stuck: w.limits.stuck}
	if !w.closed {
		w.rotated(tidy(w.segment.dir, w.segment.number, w.limits.kept()))
	}
}

// kept is keep, or -1 where everything is.
func (l rotation) kept() int {
	if l.max <= 0 {
		return -1
	}
	return l.keep
}

// allow returns how many bytes the next step may move, at most chunk, and turns to a new
// segment when this one is full. It returns 0 when this one is full and nothing waits: a
// new segment is made for bytes and not ahead of them, so that with Keep 0 the last lines
// of a service that says no more can still be read. The caller holds mu.
func (w *Writer) allow() int {
	l, s := &w.limits, w.segment
	if l.max <= 0 {
		return chunk
	}
	if s.offset < l.max && s.index.size() < max(l.max, indexRoom) {
		s.limit = 0
		return int(min(chunk, l.max-s.offset))
	}
	if !l.retry.IsZero() && time.Now().Before(l.retry) {
		return chunk
	}
	if w.fifo.buffered() == 0 {
		return 0
	}
	if n := s.toLineEnd(w.fifo.fd, l.max); n > 0 {
		return n
	}
	w.rotate()
	return int(min(chunk, l.max))
}

// toLineEnd returns how many bytes, at most peekSize, a segment still takes that has
// reached its limit: what ends its last line, if that is not longer than limit, and does not come
// byte by byte; 0 when it is full.
func (s *segment) toLineEnd(fifo int, limit int64) int {
	if s.limit == 0 {
		s.limit = s.offset + limit
	}
	left := s.limit - s.offset
	if left <= 0 || s.index.size() >= 2*max(limit, indexRoom) || s.endsLine() {
		return 0
	}
	return lineLength(fifo, int(min(left, peekSize)))
}

func (s *segment) endsLine() bool {
	var last [1]byte
	n, _ := s.file.ReadAt(last[:], s.offset-1)
	return n == 1 && last[0] == '\n'
}

// rotate goes on in a new segment, and then removes what is too old. When there can be no
// new one the old one goes on. The caller holds mu.
func (w *Writer) rotate() {
	err := w.segment.replace(w.segment.number + 1)
	if err != nil {
		w.segment.limit, w.limits.retry = 0, time.Now().Add(retryAfter)
	} else {
		w.limits.retry = time.Time{}
		err = w.remove()
	}
	w.rotated(err)
}

// remove removes what is too old: beside the mover, because to free 10 MB takes half a
// millisecond, in which a fast service fills its FIFO; but itself when the last time is not
// over yet, so that there are never more than Keep and two segments. The caller holds mu.
func (w *Writer) remove() error {
	dir, number, keep := w.segment.dir, w.segment.number, w.limits.kept()
	if w.removing {
		return tidy(dir, number, keep)
	}
	dir, err := openDir(dir, ".") // Remake closes the other
	if err != nil {
		return err
	}
	w.removing = true
	w.removals.Go(func() {
		defer dir.Close()
		err := tidy(dir, number, keep)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.removing = false
		if err != nil { // else only the next rotation can tell that all is well
			w.rotated(err)
		}
	})
	return nil
}

// rotated says what is wrong with a rotation, once until one succeeds. The caller holds mu.
func (w *Writer) rotated(err error) {
	if err != nil && !w.limits.stuck {
		w.log.Error("log cannot be rotated", "dir", w.segment.dir.Name(), "err", err)
	}
	w.limits.stuck = err != nil
}

// tidy removes the oldest segments before current, so that keep are left (all of them, when it
// is negative), and the indexes whose segments are gone: a writer was killed between the two.
// An index after current waits for its segment, which is made after it.
func tidy(dir *os.File, current, keep int) error {
	logs, indexes, err := entries(dir)
	if err != nil {
		return err
	}
	i, _ := slices.BinarySearch(logs, current)
	old := logs[:i]
	if keep >= 0 && len(old) > keep {
		old = old[:len(old)-keep]
	} else {
		old = nil
	}
	// The oldest first: what is left has no gap, whenever we are killed.
	for _, n := range old {
		if err := unlink(dir, segmentName(n)); err != nil {
			return err
		}
	}
	logs = logs[len(old):]
	for _, n := range indexes {
		if _, there := slices.BinarySearch(logs, n); !there && n < current {
			err = cmp.Or(err, unlink(dir, indexName(n)))
		}
	}
	return err
}

// unlink removes a regular file; what is something else was not made here.
func unlink(dir *os.File, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && uint32(st.Mode)&unix.S_IFMT == unix.S_IFREG {
		err = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove log file %s/%s: %w", dir.Name(), name, err)
	}
	return nil
}
