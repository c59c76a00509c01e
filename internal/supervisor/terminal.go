package supervisor

import (
	"fmt"
	"os"
	"time"

	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/tty"
)

// terminal is that of a run, and what copies its output into the log.
type terminal struct {
	*tty.Terminal
	pumped chan struct{} // closed when all that was written is in the FIFO, or nothing will be any more
}

// pumpPatience is how long the last words of a run may take that has left somebody on its terminal.
const pumpPatience = 200 * time.Millisecond

// openTerminal makes the terminal of the next run. The caller closes the slave when the run has it.
func (v *svc) openTerminal() (slave *os.File, err error) {
	v.closeTerminal()
	t, slave, err := tty.Open()
	if err != nil {
		return nil, err
	}
	v.useTerminal(t)
	return slave, nil
}

// useTerminal begins to copy.
func (v *svc) useTerminal(t *tty.Terminal) {
	term := &terminal{Terminal: t, pumped: make(chan struct{})}
	v.term = term
	out, err := v.output()
	if err != nil {
		v.sup.o.Log.Error("open the log for a terminal", "service", v.name, "err", err)
		close(term.pumped)
		return
	}
	log, name := v.sup.o.Log, v.name
	go func() {
		defer close(term.pumped)
		defer out.Close()
		if err := t.Pump(out); err != nil {
			log.Warn("the output of a terminal", "service", name, "err", err)
		}
	}()
}

// takeTerminal goes on with the terminal that an earlier daemon had.
func (v *svc) takeTerminal(master *os.File) error {
	if master == nil {
		return fmt.Errorf("nobody has kept its terminal")
	}
	t, err := tty.FromFile(master)
	if err != nil {
		return err
	}
	v.useTerminal(t)
	return nil
}

// settled waits until the last words of the run are on their way into the log.
func (t *terminal) settled() {
	if t == nil {
		return
	}
	timer := time.NewTimer(pumpPatience)
	defer timer.Stop()
	select {
	case <-t.pumped:
	case <-timer.C:
	}
}

func (v *svc) closeTerminal() {
	if v.term != nil {
		_ = v.term.Close()
		v.term = nil
	}
}

// Terminal is that of a service that runs. The error is ErrNoTerminal or ErrNotRunning.
func (s *Supervisor) Terminal(name string) (t *tty.Terminal, of service.Status, err error) {
	v, err := s.get(name)
	if err != nil {
		return nil, of, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !v.pub.TTY && v.pubTerm == nil: // while it stops, the next one may be to have none
		return nil, of, fmt.Errorf("service %q: %w", name, ErrNoTerminal)
	case v.pubTerm == nil || !v.pub.State.Alive():
		return nil, of, fmt.Errorf("service %q: %w (%s)", name, ErrNotRunning, v.pub.State)
	}
	return v.pubTerm.Terminal, v.pub, nil
}
