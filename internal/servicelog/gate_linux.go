package servicelog

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// gate is where the mover waits for bytes. Whoever watches a FIFO makes each write to it dearer, by a third for a line of 100 bytes, also while the
// mover gathers and nobody waits; and the runtime's poller, which watches for good, wakes up for each (EPOLLET of epoll(7)). So it watches
// another epoll instance, in which the FIFO is only while somebody waits.
type gate struct {
	epoll   *os.File
	fifo    int
	watched bool
}

// unwatched is how long bytes may wait where somebody else has used up the watches since, or the memory.
const unwatched = 20 * time.Millisecond

// newGate takes over the descriptor of the FIFO.
func newGate(fifo int, path string) (*gate, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		// Without O_NONBLOCK os.NewFile would not give it to the poller.
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fifo)
		return nil, fmt.Errorf("watch fifo %s: %w", path, err)
	}
	g := &gate{epoll: os.NewFile(uintptr(fd), "epoll"), fifo: fifo}
	// Without the poller (its watches used up, epoll(7)) nothing would ever be moved.
	if err = g.epoll.SetReadDeadline(time.Time{}); err == nil {
		err = g.watch(fd, true)
	}
	if err != nil {
		_ = g.close()
		return nil, fmt.Errorf("watch fifo %s: %w", path, err)
	}
	return g, nil
}

// await calls took until it says true, each time that there may be something in the FIFO, and at first. The error is that of shut.
func (g *gate) await(took func() bool) error {
	raw, err := g.epoll.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var refused error
		err := raw.Read(func(epoll uintptr) bool {
			_ = g.watch(int(epoll), false)
			if took() {
				return true
			}
			refused = g.watch(int(epoll), true) // which tells of bytes that came in between, too
			return refused != nil
		})
		if refused == nil {
			return err
		}
		time.Sleep(unwatched)
	}
}

// watch begins or ends to watch the FIFO. Its events need not be asked for: it begins anew each time.
func (g *gate) watch(epoll int, on bool) error {
	if on == g.watched {
		return nil
	}
	op := unix.EPOLL_CTL_DEL
	if on {
		op = unix.EPOLL_CTL_ADD
	}
	if err := unix.EpollCtl(epoll, op, g.fifo, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	g.watched = on
	return nil
}

// shut ends await, now and for ever.
func (g *gate) shut() error { return g.epoll.SetReadDeadline(time.Unix(1, 0)) }

// close closes the FIFO, too. Nobody may be in await any more.
func (g *gate) close() error {
	err := g.epoll.Close()
	if cerr := unix.Close(g.fifo); err == nil && cerr != nil {
		err = os.NewSyscallError("close", cerr)
	}
	return err
}
