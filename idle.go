package hob

import (
	"context"
	"time"
)

const (
	idleLooks = 4                     // within IdleExit
	idleLook  = 50 * time.Millisecond // and no more often than this
)

// watchIdle asks for a stop when nobody has needed the daemon for IdleExit.
func (s *server) watchIdle(ctx context.Context) {
	select {
	case <-s.running:
	case <-ctx.Done():
		return
	}
	var after time.Duration // 0: for ever
	needed := time.Now()
	for {
		var due <-chan time.Time
		if after > 0 {
			due = time.After(max(after/idleLooks, idleLook))
		}
		select {
		case <-ctx.Done():
			return
		case after = <-s.o.IdleExit:
			needed = time.Now()
			continue
		case <-due:
		}
		switch {
		case s.conns.needed() || s.busy():
			needed = time.Now()
		case time.Since(needed) >= after && s.conns.drainIdle("nobody needs it", s.busy):
			s.ask(stopRequest{Reason: "nobody has needed it for " + after.String(), Keep: true})
			return
		}
	}
}

func (s *server) busy() bool { return s.o.Busy != nil && s.o.Busy() }
