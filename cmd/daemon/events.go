package daemon

import (
	"context"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/supervisor"
)

// serviceEvents sends every change to the client until it leaves.
func (d *daemon) serviceEvents(ctx context.Context, r *hob.Request) error {
	for {
		sub := d.sup.Subscribe()
		lagged, err := d.stream(ctx, r, sub.C())
		sub.Close()
		if !lagged {
			return err
		}
	}
}

// stream sends a snapshot and then what comes. lagged means that the client was too slow, and what comes
// next is missing.
func (d *daemon) stream(ctx context.Context, r *hob.Request, c <-chan supervisor.Event) (lagged bool, err error) {
	for _, st := range d.sup.List() {
		if err := r.Notify(api.ServiceEvent, api.NewEvent(time.Now(), "", st)); err != nil {
			return false, err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-d.leaving:
			return false, nil
		case ev, ok := <-c:
			if !ok {
				return true, nil
			}
			if err := r.Notify(api.ServiceEvent, newEvent(ev)); err != nil {
				return false, err
			}
		}
	}
}

// forward sends the changes of some services to the client while it waits for an answer. The function that
// it returns ends that, and returns when all that happened before was sent.
func (d *daemon) forward(r *hob.Request, wants func(name string) bool) func() {
	sub := d.sup.Subscribe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range sub.C() {
			if wants(ev.Now.Name) {
				_ = r.Notify(api.ServiceEvent, newEvent(ev))
			}
		}
	}()
	return func() {
		sub.Close()
		<-done
	}
}

func newEvent(ev supervisor.Event) api.Event {
	e := api.NewEvent(ev.At, ev.From, ev.Now)
	e.Type = api.TypeState
	if ev.Removed {
		e.Type, e.To = api.TypeRemoved, ""
	}
	return e
}
