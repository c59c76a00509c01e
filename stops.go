package hob

import "sync"

// stopRequest is why the daemon leaves.
type stopRequest struct {
	Reason string `json:"reason"`
	Keep   bool   `json:"keep,omitempty"`  // leave what it runs for the next daemon
	Yield  bool   `json:"yield,omitempty"` // another daemon rules: remove nothing
}

// stops is the request to leave that is to be carried out: the first one, or a later one that asks for more.
type stops struct {
	asked chan struct{} // there is one that was not taken

	mu    sync.Mutex // guards want, taken
	want  *stopRequest
	taken bool
}

// ask is an error when the daemon is to leave running what this request would have stopped, and that can't be changed any more.
func (s *stops) ask(r stopRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	more := s.want != nil && s.want.Keep && !r.Keep
	if more && (s.taken || s.want.Yield) {
		return &Error{Code: "draining", Message: "stop the daemon: it is leaving what it runs for the next one: " + s.want.Reason}
	}
	if s.taken {
		return nil
	}
	if s.want == nil || more {
		s.want = &r
	}
	select {
	case s.asked <- struct{}{}:
	default:
	}
	return nil
}

// take is for who carries it out, once asked is ready.
func (s *stops) take() stopRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
	return *s.want
}

// pending is the request that was not taken yet; nil: there is none.
func (s *stops) pending() *stopRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want
}
