package supervisor

import (
	"context"
	"fmt"

	"github.com/hobworks/hob/internal/service"
)

// await blocks until ok of the published state.
func (v *svc) await(ctx context.Context, ok func(service.Status) bool) (service.Status, error) {
	for {
		v.mu.Lock()
		st, changed := v.pub, v.changed
		v.mu.Unlock()
		if ok(st) {
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, fmt.Errorf("wait for service %q, which is %s: %w", v.name, st.State, ctx.Err())
		case <-v.quit:
			// What it came to before it was let go is an answer, too.
			if st := v.status(); ok(st) {
				return st, nil
			}
			return st, fmt.Errorf("service %q: %w", v.name, ErrClosed)
		}
	}
}

// start begins a run and waits for its verdict. A run that is already there is waited for.
func (v *svc) start(ctx context.Context, ev event, noWait bool) (service.Status, error) {
	ev.kind = evStart
	return v.verdict(ctx, v.send(ev), noWait)
}

// newRun is start after the end of the run that is there. When ctx ends there is no more grace for that.
func (v *svc) newRun(ctx context.Context, ev event, noWait bool) (service.Status, error) {
	ev.kind = evRestart
	sent := v.send(ev)
	noGrace := v.noGrace()
	defer context.AfterFunc(ctx, noGrace)()
	st, err := v.verdict(ctx, sent, noWait)
	if ctx.Err() != nil {
		noGrace() // AfterFunc may not have come to it
	}
	return st, err
}

// verdict waits for what comes of a start.
func (v *svc) verdict(ctx context.Context, sent, noWait bool) (service.Status, error) {
	if !sent || v.sup.ending.Load() || v.over.Load() { // then it was dropped, perhaps
		return v.status(), fmt.Errorf("service %q: %w", v.name, ErrClosed)
	}
	now := v.status()
	generation := now.Generation
	if now.State == service.Stopping {
		generation++ // it starts when the stop is through
	}
	return v.settled(ctx, generation, noWait)
}

// settled waits for the verdict: that the service is up or done, or that it failed and is not tried again;
// with noWait, only until its run is executed, or has to wait for something. A run that failed is a
// *DiedError; so is one that somebody stopped.
func (v *svc) settled(ctx context.Context, generation int, noWait bool) (service.Status, error) {
	st, err := v.await(ctx, func(st service.Status) bool {
		switch {
		case st.State == service.Stopping:
			return false
		case st.State.Pending():
			return noWait
		case st.State == service.Starting:
			return noWait && st.Pid != 0 && st.Generation >= generation
		}
		return true
	})
	if err == nil && (st.State == service.Failed || st.State == service.Stopped) {
		err = &DiedError{Status: st}
	}
	return st, err
}

// stop asks for the end of the run and waits until nothing of it is left; when ctx ends first
// there is no more grace, and it waits on.
func (v *svc) stop(ctx context.Context) (service.Status, error) {
	st, err := v.end(ctx, event{kind: evStop})
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil && v.left != nil {
		err = fmt.Errorf("service %q: %w", v.name, v.left)
	}
	return st, err
}

// end hands over what ends the run, and waits until nothing of it is left.
func (v *svc) end(ctx context.Context, ev event) (service.Status, error) {
	if !v.send(ev) {
		return v.status(), fmt.Errorf("service %q: %w", v.name, ErrClosed)
	}
	if v.status().Want == service.Up || ev.kind == evStop { // else the stop is somebody else's
		defer context.AfterFunc(ctx, v.noGrace())()
	}
	return v.await(context.Background(), func(st service.Status) bool { return st.State != service.Stopping })
}

// noGrace gives what cuts the grace of the stop that is under way, and of no later one.
func (v *svc) noGrace() func() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cancel == nil {
		return func() {}
	}
	return v.cancel
}
