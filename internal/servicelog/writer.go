package servicelog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Options say where a Writer works. Dir and FIFO are required.
type Options struct {
	Dir    string       // of the log; made, with its parents, 0700, when missing
	FIFO   string       // path of the FIFO; made 0600 when missing, its directory is not
	Logger *slog.Logger // nil: silent

	// Max is the size in bytes at which a segment is full; 0: it never is. The line that
	// reaches Max is ended in it first, unless that takes more than Max again. Only while
	// no new segment can be made does it grow further. It is full, too, when its index has
	// reached Max, or 1 MiB where that is more.
	Max int64

	// Keep is how many full segments are kept beside the one that is written, when there
	// is a Max. Older ones are removed, the oldest first, once there is a new one.
	Keep int
}

// A Writer moves what a service writes from its FIFO into the log, from Open to Close.
// Its methods may be called from several goroutines. At most one Writer may work on a
// directory or a FIFO at a time; that is the caller's to see to.
type Writer struct {
	path string // of the log
	fifo *fifo
	log  *slog.Logger
	done chan struct{} // closed when the mover has ended

	removals sync.WaitGroup // one at a time; begun under mu, and not when closed

	// mu makes "out of the FIFO, into the segment, into the index" one step: whoever
	// holds it sees no byte that is on its way. It is never held while waiting for bytes.
	mu      sync.Mutex
	segment *segment
	lost    int64
	limits  rotation
	broken  bool // the last write to the segment or its index failed
	closed  bool

	removing bool
}

// Open opens or makes the log and its FIFO, and begins to move bytes. What stands in place
// of a file and is something else (a symbolic link, a directory, a device) is an error
// that names it; nothing is removed. The caller closes the Writer.
func Open(o Options) (*Writer, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	dir, err := openDir(nil, o.Dir)
	if err != nil {
		return nil, err
	}
	s, err := openLast(dir)
	if err != nil {
		dir.Close()
		return nil, err
	}
	f, err := openFIFO(o.FIFO)
	if err != nil {
		s.close()
		dir.Close()
		return nil, err
	}
	log := cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	w := &Writer{path: o.Dir, fifo: f, log: log, segment: s, done: make(chan struct{})}
	w.SetLimits(o.Max, o.Keep)
	go w.run()
	return w, nil
}

// Remake makes the log's directory again after it was removed, and goes on in it. The FIFO
// is kept as it is, because a service has it open; it may have no name any more, and then
// Output fails and the next service needs another Writer.
func (w *Writer) Remake() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := os.MkdirAll(w.path, 0o700); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	return w.moveTo()
}

// verify is that of the segment, and makes the log's directory again, and the one that it is in. Beyond that it is
// the owner of what was removed who knows what to do. The caller holds mu.
func (w *Writer) verify() error {
	err := w.segment.verify()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, dir := range []string{filepath.Dir(w.path), w.path} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make log directory: %w", err)
		}
	}
	return w.moveTo()
}

// moveTo goes on in the directory that is there now. The caller holds mu.
func (w *Writer) moveTo() error {
	dir, err := openDir(nil, w.path)
	if err != nil {
		return err
	}
	old := w.segment.dir
	w.segment.dir = dir
	if err := w.segment.replace(w.segment.number + 1); err != nil {
		w.segment.dir = old
		dir.Close()
		return err
	}
	return old.Close()
}

// Output opens the FIFO for a child's stdout and stderr: read-write, so that the child
// gets no EPIPE when we die; blocking; and a file description of its own, so that the
// mover's O_NONBLOCK does not reach the child. The caller closes it. When another file
// has taken the FIFO's place, that is an error.
func (w *Writer) Output() (*os.File, error) { return w.fifo.output() }

// FIFO returns what the FIFO is known by in stat(2), as also seen through /proc/PID/fd.
func (w *Writer) FIFO() (dev, ino uint64) { return w.fifo.dev, w.fifo.ino }

// Position returns the end of what has been moved so far.
func (w *Writer) Position() Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Position{w.segment.number, w.segment.offset}
}

// Lost returns how many bytes this Writer had to drop, so as not to block the service,
// because the segment could not be written: the disk full (ENOSPC, EDQUOT), a limit
// (EFBIG), a fault (EIO). A dropped stretch may begin and end inside a line.
func (w *Writer) Lost() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Drain returns nil once every byte that was in the FIFO when it was called is in the
// segment and has its time in the index, or is counted as lost. It does not wait for more
// to come. It returns the error of ctx when that ends first, and os.ErrClosed after Close.
func (w *Writer) Drain(ctx context.Context) error {
	left, err := w.backlog()
	for left > 0 && err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		w.mu.Lock()
		m := w.step()
		w.mu.Unlock()
		if errors.Is(m.fifoErr, unix.EAGAIN) {
			return nil // the mover was faster
		}
		left, err = left-m.taken(), m.fifoErr
	}
	if err != nil {
		return fmt.Errorf("drain fifo %s: %w", w.fifo.path, err)
	}
	return nil
}

func (w *Writer) backlog() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, os.ErrClosed
	}
	return w.fifo.buffered(), nil
}

// Close stops moving and closes the files. What is in the FIFO stays there as long as
// somebody else has it open. Nothing is removed. Only the first call does something.
func (w *Writer) Close() error {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	w.mu.Unlock()
	if closed {
		return nil
	}
	// The mover waits or gathers; it must be gone before its descriptor is.
	if err := w.fifo.gate.shut(); err != nil {
		return fmt.Errorf("stop log mover: %w", err)
	}
	<-w.done
	w.removals.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.segment.close()
	return errors.Join(w.fifo.gate.close(), w.segment.dir.Close())
}

func (w *Writer) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// step moves one chunk, or says EAGAIN. The caller holds mu.
func (w *Writer) step() moved {
	if w.closed {
		return moved{fifoErr: os.ErrClosed}
	}
	m := w.move()
	w.lost += int64(m.lost)
	switch err := cmp.Or(m.segmentErr, m.indexErr); {
	case err != nil && !w.broken:
		w.broken = true
		w.log.Error("log cannot be written", "dir", w.segment.dir.Name(), "err", err)
	case err == nil && m.written > 0 && w.broken:
		w.broken = false
		w.log.Info("log is written again", "dir", w.segment.dir.Name(), "lost", w.lost)
	}
	return m
}

func (w *Writer) move() moved {
	if err := w.verify(); err != nil {
		lost, fifoErr := discard(w.fifo.fd, chunk)
		return moved{lost: lost, segmentErr: err, fifoErr: fifoErr}
	}
	limit := w.allow()
	if limit == 0 {
		return moved{fifoErr: unix.EAGAIN}
	}
	return w.segment.take(w.fifo.fd, limit)
}
