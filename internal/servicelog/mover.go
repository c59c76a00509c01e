package servicelog

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// chunk is the most that one step moves: the whole pipe. splice(2) holds the pipe's
	// lock while it writes, so smaller steps only mean more of them.
	chunk = 256 << 10

	// small is a step after which it pays to let the FIFO fill: a wake-up for each line
	// costs more than the move.
	small = 32 << 10

	// maxGather bounds how long bytes wait in the FIFO for company.
	maxGather = 4 * time.Millisecond

	// tick is the shortest sleep that the runtime's timers keep on an idle process: its
	// poller rounds up to it. A fast service fills the FIFO in less.
	tick = time.Millisecond
)

// run moves bytes until Close. The first bytes after a silence are moved at once; a
// silent service costs no wake-up.
func (w *Writer) run() {
	defer close(w.done)
	since, sum := time.Now(), 0
	for {
		m, err := w.await()
		if err != nil {
			if !w.isClosed() {
				w.log.Error("log mover ended", "fifo", w.fifo.path, "err", err)
			}
			return
		}
		n := m.taken()
		sum += n
		if n >= small || m.more {
			continue
		}
		now := time.Now()
		w.gather(sum, now.Sub(since))
		since, sum = now, 0
	}
}

// await waits for bytes and moves one chunk. It waits only after EAGAIN: bytes that were there before may not be told of.
func (w *Writer) await() (m moved, err error) {
	if err := w.fifo.gate.await(func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		m = w.step()
		return !errors.Is(m.fifoErr, unix.EAGAIN)
	}); err != nil {
		return m, err
	}
	return m, m.fifoErr
}

// gather lets the FIFO fill up to about half, and no longer than maxGather, so that the
// service never finds it full; got bytes came in took before.
func (w *Writer) gather(got int, took time.Duration) {
	half := w.fifo.size / 2
	wait := fillTime(half, got, took)
	if wait >= 2*tick { // slow, or a silence that has just ended: look again
		time.Sleep(tick)
		n := w.fifo.buffered()
		if n == 0 || n >= half {
			return
		}
		wait = min(fillTime(half-n, n, tick), maxGather-tick)
	}
	if wait >= tick {
		time.Sleep(wait)
	} else if wait > 0 {
		pause(wait)
	}
}

// fillTime tells how long want bytes take at the rate of got in took, up to maxGather.
func fillTime(want, got int, took time.Duration) time.Duration {
	return time.Duration(min(float64(took)*float64(want)/float64(max(got, 1)), float64(maxGather)))
}
