package servicelog

import (
	"bytes"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
)

const (
	fionread = unix.TIOCINQ // FIONREAD under its other name, ioctl_tty(2)

	// pipeSize is what we ask for each FIFO. Not more: 1 MiB for each of 64 services uses
	// up an ordinary user's fs.pipe-user-pages-soft, see pipe(7).
	pipeSize = 256 << 10
)

// growPipe makes the FIFO hold pipeSize; a refusal costs throughput only.
func growPipe(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) }

func pipeCapacity(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil || n <= 0 {
		return 64 << 10
	}
	return n
}

// move takes up to limit bytes from the FIFO to the segment at offset. splice(2) because
// at no instant are the bytes only in our memory: they are in the pipe until they are in
// the file, whenever we are killed (TestKilledWriterLosesNothing).
func move(fifo, segment int, offset int64, limit int) moved {
	if fault.Mutant("logs are read and written") {
		return copyMove(fifo, segment, offset, limit)
	}
	for {
		n, err := unix.Splice(fifo, nil, segment, &offset, limit, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case err == nil && n > 0:
			return moved{written: int(n)}
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return moved{fifoErr: err}
		case errors.Is(err, unix.EINVAL): // a file system that cannot, splice(2)
			return copyMove(fifo, segment, offset, limit)
		default:
			if err == nil {
				err = unix.EIO
			}
			// What could not be written is still in the pipe and would block the service.
			lost, fifoErr := discard(fifo, chunk)
			return moved{lost: lost, segmentErr: err, fifoErr: fifoErr}
		}
	}
}

// lineLength returns how many of the next bytes in the FIFO, at most limit, belong to the
// line that has begun, with its newline. tee(2) shows them and takes none out; where it
// cannot, for want of descriptors, the answer is limit.
func lineLength(fifo, limit int) int {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return limit
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	n, err := unix.Tee(fifo, p[1], limit, unix.SPLICE_F_NONBLOCK)
	if err != nil || n <= 0 {
		return limit
	}
	buf := make([]byte, n)
	k, err := readFIFO(p[0], buf)
	if err != nil {
		return limit
	}
	if i := bytes.IndexByte(buf[:k], '\n'); i >= 0 {
		return i + 1
	}
	return k
}

// pause sleeps less than a tick, in a thread of its own: the runtime has no clock for it.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.Syscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
