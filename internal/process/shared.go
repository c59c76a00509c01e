package process

import "sync"

// shared hands out answers that are younger than the call and shares each among all who wait for one: what a hundred trees that end at once ask costs
// a few looks then, not hundreds.
type shared[T any] struct {
	look func() (T, error)

	looking chan struct{} // holds an element while a look is under way
	mu      sync.Mutex    // guards next
	next    *answer[T]    // not begun, so that others may still join it
}

type answer[T any] struct {
	done chan struct{}
	is   T
	err  error
}

func newShared[T any](look func() (T, error)) *shared[T] {
	return &shared[T]{look: look, looking: make(chan struct{}, 1)}
}

// take blocks for a look and the end of the one that is under way.
func (s *shared[T]) take() (T, error) {
	s.mu.Lock()
	if a := s.next; a != nil {
		s.mu.Unlock()
		<-a.done
		return a.is, a.err
	}
	a := &answer[T]{done: make(chan struct{})}
	s.next = a
	s.mu.Unlock()

	s.looking <- struct{}{}
	defer func() { <-s.looking }()
	s.mu.Lock()
	s.next = nil // it begins now: whoever comes later must not be answered with it
	s.mu.Unlock()
	defer close(a.done)
	a.is, a.err = s.look()
	return a.is, a.err
}
