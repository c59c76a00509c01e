package servicelog

import (
	"fmt"
	"os"
	"time"
)

// gate is where the mover waits for bytes: the runtime's poller.
type gate struct{ fifo *os.File }

// newGate takes over the descriptor of the FIFO.
func newGate(fifo int, path string) (*gate, error) {
	g := &gate{os.NewFile(uintptr(fifo), path)}
	if err := g.fifo.SetReadDeadline(time.Time{}); err != nil {
		_ = g.close()
		return nil, fmt.Errorf("watch fifo %s: %w", path, err)
	}
	return g, nil
}

// await calls took until it says true, each time that there may be something in the FIFO, and at first. The error is that of shut.
func (g *gate) await(took func() bool) error {
	raw, err := g.fifo.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(uintptr) bool { return took() })
}

// shut ends await, now and for ever.
func (g *gate) shut() error { return g.fifo.SetReadDeadline(time.Unix(1, 0)) }

// close closes the FIFO, too. Nobody may be in await any more.
func (g *gate) close() error { return g.fifo.Close() }
