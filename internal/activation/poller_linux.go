package activation

import (
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Poller tells when a connection waits: an epoll(7) instance, which the runtime's poller waits for as for any other
// descriptor. So no thread is parked, and while nothing is armed nothing wakes up. Its methods may be called by several goroutines.
type Poller struct {
	file *os.File

	mu    sync.Mutex // guards all below
	armed map[int32]armed
	late  map[*Socket]*time.Timer // those that could not be armed
	done  chan struct{}           // closed when its goroutine has ended; nil: it has none before the first Arm
}

// armed is a socket that is watched, by a descriptor of its own: so it can't be another file's meanwhile.
type armed struct {
	sock *Socket
	f    func()
}

// NewPoller makes one. The caller closes it.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for os.NewFile to give it to the poller
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &Poller{file: os.NewFile(uintptr(fd), "epoll"), armed: map[int32]armed{}, late: map[*Socket]*time.Timer{}}, nil
}

// start begins to wait for events.
func (p *Poller) start() error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	done := make(chan struct{})
	p.done = done
	go func() {
		defer close(done)
		_ = conn.Read(func(fd uintptr) bool {
			p.serve(int(fd))
			return false
		})
	}()
	return nil
}

// Arm has f called once, when a connection waits, from a goroutine that f must not hold up. If one does already, that is
// at once. Arming anew takes the place of what was armed.
func (p *Poller) Arm(s *Socket, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disarm(s)
	p.arm(s, f)
}

// armPause is how long it is until a socket is armed for which there was no descriptor or no room.
const armPause = 100 * time.Millisecond

// passing are the errors of which there is an end, epoll_ctl(2), fcntl(2).
var passing = []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC}

func (p *Poller) arm(s *Socket, f func()) {
	if p.done == nil && p.start() != nil {
		return // it is closed
	}
	var fd int
	err := s.with(func(own int) (err error) {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err == nil {
		err = p.control(func(epoll int) error {
			return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
		})
		if err != nil {
			unix.Close(fd)
		}
	}
	if err == nil {
		p.armed[int32(fd)] = armed{s, f}
	} else if slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) }) {
		p.armLater(s, f)
	}
}

func (p *Poller) armLater(s *Socket, f func()) {
	var t *time.Timer
	t = time.AfterFunc(armPause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.late[s] == t { // else it was disarmed
			delete(p.late, s)
			p.arm(s, f)
		}
	})
	p.late[s] = t
}

// Disarm takes Arm back: from then on f is not called, unless it is being called already.
func (p *Poller) Disarm(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disarm(s)
}

func (p *Poller) disarm(s *Socket) {
	if t := p.late[s]; t != nil {
		t.Stop()
		delete(p.late, s)
	}
	for fd, a := range p.armed {
		if a.sock == s {
			p.drop(fd)
		}
	}
}

// drop has epoll forget the descriptor before it is closed: others have the open file, so it would not by itself.
func (p *Poller) drop(fd int32) {
	delete(p.armed, fd)
	_ = p.control(func(epoll int) error { return unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, int(fd), nil) })
	unix.Close(int(fd))
}

func (p *Poller) control(f func(epoll int) error) error { return control(p.file, f) }

// serve calls those for whom something has happened.
func (p *Poller) serve(epoll int) {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(epoll, events, 0)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		for _, e := range events[:n] {
			p.mu.Lock()
			a, ok := p.armed[e.Fd]
			if ok {
				p.drop(e.Fd)
			}
			p.mu.Unlock()
			if ok {
				a.f()
			}
		}
	}
}

// Close ends it; nothing is called any more when it returns.
func (p *Poller) Close() {
	p.mu.Lock()
	for fd := range p.armed {
		p.drop(fd)
	}
	for s := range p.late {
		p.disarm(s)
	}
	done := p.done
	p.mu.Unlock()
	p.file.Close()
	if done != nil {
		<-done
	}
}
