package servicelog

import (
	"errors"

	"golang.org/x/sys/unix"
)

// copyChunk is how much one read takes where bytes go through our memory.
const copyChunk = 64 << 10

// copyMove is move by read(2) and pwrite(2). What it has read is lost when we are killed
// before it is written.
func copyMove(fifo, segment int, offset int64, limit int) moved {
	buf := make([]byte, min(limit, copyChunk))
	n, err := readFIFO(fifo, buf)
	if err != nil {
		return moved{fifoErr: err}
	}
	var m moved
	for m.written < n {
		k, err := unix.Pwrite(segment, buf[m.written:n], offset+int64(m.written))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && k == 0 {
			err = unix.EIO
		}
		if err != nil {
			m.lost, m.segmentErr = n-m.written, err
			return m
		}
		m.written += k
	}
	return m
}

// discard takes up to limit bytes out of the FIFO and drops them.
func discard(fifo, limit int) (int, error) {
	buf := make([]byte, min(limit, copyChunk))
	total := 0
	for total < limit {
		n, err := readFIFO(fifo, buf[:min(len(buf), limit-total)])
		if errors.Is(err, unix.EAGAIN) && total > 0 {
			break
		}
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

func readFIFO(fifo int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fifo, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0: // cannot be while we hold a write end
			return 0, unix.EPIPE
		default:
			return n, nil
		}
	}
}
