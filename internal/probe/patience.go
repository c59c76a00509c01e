package probe

import (
	"context"
	"sync"
	"time"
)

// ticks is in how many parts a Patience is waited for.
const ticks = 16

// Patience is a limit for a wait for somebody else. It counts only time in which this process can have seen the answer: one that was stopped, as by
// Ctrl-Z, or that had no processor, would blame somebody who has answered long ago. A part of the limit that passes meanwhile
// is one part, however long it has been.
type Patience struct {
	end context.CancelCauseFunc

	mu    sync.Mutex // guards all below
	timer *time.Timer
	tick  time.Duration
	left  int // ticks
	over  bool
}

// WithPatience gives a context that ends after d, with context.DeadlineExceeded as its cause. The caller calls Stop.
func WithPatience(ctx context.Context, d time.Duration) (context.Context, *Patience) {
	ctx, end := context.WithCancelCause(ctx)
	p := &Patience{end: end, tick: d / ticks, left: ticks}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(p.tick, p.passed)
	return ctx, p
}

func (p *Patience) passed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	if p.left--; p.left > 0 {
		p.timer.Reset(p.tick)
		return
	}
	p.over = true
	p.end(context.DeadlineExceeded)
}

// Reset moves the end to d from now. It does not bring back a context that has ended.
func (p *Patience) Reset(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick, p.left = d/ticks, ticks
	if !p.over {
		p.timer.Reset(p.tick)
	}
}

// Stop ends the context and the wait for it.
func (p *Patience) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.over = true
	p.end(context.Canceled)
}
