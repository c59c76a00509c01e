package supervisor

import (
	"sync"
	"time"

	"github.com/hobworks/hob/internal/service"
)

// Event is one change of a service.
type Event struct {
	At   time.Time
	From service.State
	Now  service.Status

	Removed bool // it is forgotten
}

// maxPending is how many events may wait for a subscriber.
const maxPending = 1024

// Subscription is somebody who is told of every change.
type Subscription struct {
	hub *hub
	c   chan Event
}

// hub hands events out.
type hub struct {
	mu  sync.Mutex // guards all
	all map[*Subscription]bool
}

// Subscribe begins to collect events. The caller reads them, and calls Close in the end. One who does not
// read loses all of them, and C is closed: whoever goes on begins again with a snapshot, and nobody waits for him.
func (s *Supervisor) Subscribe() *Subscription {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.hub.all == nil {
		s.hub.all = map[*Subscription]bool{}
	}
	sub := &Subscription{hub: &s.hub, c: make(chan Event, maxPending)}
	s.hub.all[sub] = true
	return sub
}

// C gives the events in the order in which they happened to each service.
func (s *Subscription) C() <-chan Event { return s.c }

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.drop(s)
}

func (h *hub) drop(s *Subscription) {
	if h.all[s] {
		delete(h.all, s)
		close(s.c)
	}
}

// changed tells everybody.
func (s *Supervisor) changed(ev Event) {
	if s.o.Changed != nil {
		s.o.Changed(ev.From, ev.Now)
	}
	ev.At = time.Now().UTC()
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for sub := range s.hub.all {
		select {
		case sub.c <- ev:
		default:
			s.hub.drop(sub)
		}
	}
}
