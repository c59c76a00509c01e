package activation

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Poller tells when a connection waits: a kqueue, on which a thread waits. Its methods may be called by several goroutines.
type Poller struct {
	kq int

	mu    sync.Mutex // guards armed
	armed map[*Socket]func()
}

// NewPoller makes one. The caller closes it.
func NewPoller() (*Poller, error) {
	kq, err := unix.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(kq)
	p := &Poller{kq: kq, armed: map[*Socket]func(){}}
	go p.serve()
	return p, nil
}

// Arm has f called once, when a connection waits, from a goroutine that f must not hold up.
func (p *Poller) Arm(s *Socket, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed[s] = f
	p.change(s, unix.EV_ADD|unix.EV_ONESHOT)
}

// Disarm takes Arm back.
func (p *Poller) Disarm(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed[s] != nil {
		delete(p.armed, s)
		p.change(s, unix.EV_DELETE)
	}
}

func (p *Poller) change(s *Socket, flags int) {
	_ = s.with(func(fd int) error {
		var ev unix.Kevent_t
		unix.SetKevent(&ev, fd, unix.EVFILT_READ, flags)
		_, err := unix.Kevent(p.kq, []unix.Kevent_t{ev}, nil, nil)
		return err
	})
}

func (p *Poller) serve() {
	events := make([]unix.Kevent_t, 1)
	for {
		n, err := unix.Kevent(p.kq, nil, events, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		if n == 1 {
			p.call(int(events[0].Ident))
		}
	}
}

func (p *Poller) call(fd int) {
	p.mu.Lock()
	var f func()
	for s, armed := range p.armed {
		if s.with(func(own int) error {
			if own != fd {
				return os.ErrInvalid
			}
			return nil
		}) == nil {
			f = armed
			delete(p.armed, s)
		}
	}
	p.mu.Unlock()
	if f != nil {
		f()
	}
}

// Close ends it.
func (p *Poller) Close() { unix.Close(p.kq) }
