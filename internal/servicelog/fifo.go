package servicelog

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A fifo is our own open of the service's FIFO, and what we know the file by.
type fifo struct {
	gate *gate // for who waits for bytes
	fd   int   // the gate's
	size int   // how much it holds
	path string

	dev, ino uint64
}

// openFIFO makes the FIFO when there is none and opens it for the mover: O_RDWR, so that
// it never sees an end when the last service leaves, and O_NONBLOCK: it waits at the gate.
func openFIFO(path string) (*fifo, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make fifo %s: %w", path, err)
	}
	fd, st, err := openOurFIFO(path, unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	gate, err := newGate(fd, path)
	if err != nil {
		return nil, err
	}
	growPipe(fd)
	return &fifo{
		gate: gate,
		fd:   fd, size: pipeCapacity(fd), path: path,
		dev: uint64(st.Dev), ino: st.Ino,
	}, nil
}

// openOurFIFO looks before it opens: opening a device can have effects of its own.
func openOurFIFO(path string, flags int) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return -1, st, fmt.Errorf("open fifo %s: %w", path, err)
	}
	if err := checkFIFO(path, &st); err != nil {
		return -1, st, err
	}
	fd, err := openat(unix.AT_FDCWD, path, unix.O_RDWR|flags, 0)
	if err != nil {
		return -1, st, fmt.Errorf("open fifo %s: %w", path, err)
	}
	if err = unix.Fstat(fd, &st); err != nil {
		err = fmt.Errorf("stat fifo %s: %w", path, err)
	} else {
		err = checkFIFO(path, &st)
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

func checkFIFO(path string, st *unix.Stat_t) error {
	mode := uint32(st.Mode)
	switch {
	case mode&unix.S_IFMT != unix.S_IFIFO:
		return fmt.Errorf("open fifo %s: it is %s, not a FIFO", path, kind(mode))
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("open fifo %s: it belongs to uid %d, not to %d", path, st.Uid, os.Geteuid())
	case mode&0o077 != 0:
		return fmt.Errorf("open fifo %s: its mode is %04o, others may use it; want 0600", path, mode&0o7777)
	}
	return nil
}

// output opens the FIFO once more, blocking, with a file description of its own. Opening
// /proc/self/fd/N or a dup would not do: a dup shares O_NONBLOCK with the mover's.
func (f *fifo) output() (*os.File, error) {
	fd, st, err := openOurFIFO(f.path, 0)
	if err != nil {
		return nil, err
	}
	if uint64(st.Dev) != f.dev || st.Ino != f.ino {
		unix.Close(fd)
		return nil, fmt.Errorf("open fifo %s: another file has taken its place", f.path)
	}
	// NewFile and not OpenFile: that one would set O_NONBLOCK for the poller.
	return os.NewFile(uintptr(fd), f.path), nil
}

// buffered is how many bytes wait in the FIFO.
func (f *fifo) buffered() int {
	n, err := unix.IoctlGetInt(f.fd, fionread)
	if err != nil {
		return 0
	}
	return n
}
