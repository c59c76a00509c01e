package activation

import (
	"fmt"
)

// Count is how many connections a socket has.
type Count struct {
	Waiting  int // that nobody has accepted yet
	Accepted int // that a process has open, in whatever state: one that is closed on the other side only is, too
}

// Queue is a set of connections that wait at one instant. The zero Queue is empty.
type Queue map[string]struct{}

// Len is how many there are.
func (q Queue) Len() int { return len(q) }

// Took reports that one of them is not in the later queue now: somebody has accepted it. A queue is first in, first out, so
// if anything was accepted between the two, then one of those that had waited first.
func (q Queue) Took(now Queue) bool {
	for id := range q {
		if _, waits := now[id]; !waits {
			return true
		}
	}
	return false
}

// Count asks the kernel. The error wraps errors.ErrUnsupported where it does not tell (darwin).
func (s *Socket) Count() (Count, error) {
	all, err := s.connections()
	n := Count{Waiting: len(all.waiting), Accepted: all.accepted}
	if err != nil {
		return Count{}, fmt.Errorf("count the connections of %s: %w", s.addr, err)
	}
	return n, nil
}

// Queue asks the kernel which connections wait, as Count does how many.
func (s *Socket) Queue() (Queue, error) {
	all, err := s.connections()
	if err != nil {
		return nil, fmt.Errorf("look at the queue of %s: %w", s.addr, err)
	}
	return all.waiting, nil
}

// connections are those of one socket.
type connections struct {
	waiting  Queue
	accepted int
}
