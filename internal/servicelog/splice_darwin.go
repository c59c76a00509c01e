package servicelog

import "time"

const (
	fionread = 0x4004667f // FIONREAD, <sys/filio.h>

	// darwin grows a pipe by itself, up to this.
	pipeSize = 64 << 10
)

func growPipe(int) {}

func pipeCapacity(int) int { return pipeSize }

// move takes up to limit bytes from the FIFO to the segment at offset. There is no
// splice: a SIGKILL between read and write loses at most copyChunk bytes.
func move(fifo, segment int, offset int64, limit int) moved {
	return copyMove(fifo, segment, offset, limit)
}

// lineLength cannot see what is in the FIFO: a segment ends where a move happens to end
// with a line.
func lineLength(_, limit int) int { return limit }

// pause sleeps less than a tick; kqueue's clock has nanoseconds.
func pause(d time.Duration) { time.Sleep(d) }
