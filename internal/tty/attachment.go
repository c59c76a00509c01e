package tty

import (
	"bytes"
	"errors"
	"sync"
)

const (
	maxUnread = 1 << 20 // how far somebody may lag behind
	maxChunk  = 32 << 10
)

// ErrTooSlow says that somebody did not read what the terminal showed.
var ErrTooSlow = errors.New("1 MiB of the terminal's output was not read in time")

// Attachment is what somebody sees of a terminal.
type Attachment struct {
	t    *Terminal
	c    chan []byte
	wake chan struct{} // there is something to do for feed
	gone chan struct{} // closed: nothing is wanted any more

	mu     sync.Mutex
	unread []byte
	ended  bool // nothing comes any more
	left   bool // gone is closed
	err    error
}

// Attach gives what was written last, up to 16 KiB and from the beginning of a line where there is one, and then everything
// in order. On a terminal that has ended it gives only the first. The caller closes it.
func (t *Terminal) Attach() *Attachment {
	a := &Attachment{t: t, c: make(chan []byte), wake: make(chan struct{}, 1), gone: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	a.unread = t.recent.last()
	if a.ended = t.ended; !a.ended {
		t.attached[a] = struct{}{}
	}
	go a.feed()
	return a
}

// C gives parts of up to 32 KiB, which are the receiver's. It is closed when all was read of a terminal that has ended,
// when 1 MiB was not read in time (then the rest is dropped), and after Close.
func (a *Attachment) C() <-chan []byte { return a.c }

// Err says, once C is closed, why: ErrTooSlow, or nil.
func (a *Attachment) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Close ends it. It may be called again, and at any time.
func (a *Attachment) Close() {
	a.t.mu.Lock()
	delete(a.t.attached, a)
	a.t.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(nil)
}

// leave is called with mu held.
func (a *Attachment) leave(why error) {
	if a.left {
		return
	}
	a.left, a.err, a.unread = true, why, nil
	close(a.gone)
}

// show gives p to everybody who is attached; it never waits. Who is too slow is attached no more.
func (t *Terminal) show(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent.add(p)
	for a := range t.attached {
		if !a.add(p) {
			delete(t.attached, a)
		}
	}
}

// end lets those who are attached read what they have not, and no more.
func (t *Terminal) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for a := range t.attached {
		a.mu.Lock()
		a.ended = true
		a.mu.Unlock()
		a.call()
	}
	clear(t.attached)
}

// add reports whether more is wanted.
func (a *Attachment) add(p []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.left && len(a.unread)+len(p) > maxUnread {
		a.leave(ErrTooSlow)
	}
	if a.left {
		return false
	}
	a.unread = append(a.unread, p...)
	a.call()
	return true
}

func (a *Attachment) call() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// feed is the one that sends on C and closes it.
func (a *Attachment) feed() {
	defer close(a.c)
	for {
		part, ended := a.next()
		switch {
		case part != nil:
			select {
			case a.c <- part:
			case <-a.gone:
				return
			}
		case ended:
			return
		default:
			select {
			case <-a.wake:
			case <-a.gone:
				return
			}
		}
	}
}

// next gives what is to be sent next, nil for nothing, and whether nothing will follow.
func (a *Attachment) next() (part []byte, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch n := len(a.unread); {
	case n == 0:
		return nil, a.ended
	case n <= maxChunk:
		part, a.unread = a.unread, nil
	default:
		part, a.unread = bytes.Clone(a.unread[:maxChunk]), a.unread[maxChunk:]
	}
	return part, false
}
