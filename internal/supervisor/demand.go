package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

const (
	shortestLook = 20 * time.Millisecond // between two looks whether somebody needs the service
	freezing     = time.Second           // for a tree to stand still
)

// Demand makes a service run that the first connection would start, or that was stopped, and waits for the verdict as
// Start does. What runs is left alone, also where its alive check fails.
func (s *Supervisor) Demand(ctx context.Context, name string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	if now := v.status(); now.State == service.Unready {
		return now, nil
	}
	return s.Start(ctx, name)
}

// rest puts an on-demand service to rest: its socket is held, and the first connection starts it.
func (v *svc) rest(ev event) {
	v.accept(ev)
	v.rested()
}

// rested is the end of the way to idle.
func (v *svc) rested() {
	v.st.State, v.st.Pid, v.st.Start = service.Idle, 0, 0
	if err := v.hold(); err != nil {
		v.notStarted(err)
		v.st.Lazy = true // what is tried again is that
	}
}

// restAgain is the end of a run after which the next connection starts another.
func (v *svc) restAgain(ev event) {
	v.ended(ev)
	why := v.st.Why
	v.rested()
	if v.st.State == service.Idle {
		v.st.Why = why
	}
}

// lookLater begins to look, from time to time, whether somebody needs the service, if that matters.
func (v *svc) lookLater() {
	if v.st.Idle <= 0 || !v.st.State.Serving() || v.looking == v.st.Generation {
		return
	}
	v.looking = v.st.Generation
	if now := time.Now(); now.After(v.front.needed) {
		v.front.needed = now
	}
	v.lookIn()
}

func (v *svc) lookIn() {
	ev := event{kind: evLook, generation: v.st.Generation}
	time.AfterFunc(max(v.st.Idle/4, shortestLook), func() { v.post(ev) })
}

// look stops the service when nobody has needed it for long.
func (v *svc) look(event) {
	if v.st.Idle <= 0 {
		v.looking = 0
		return
	}
	now := time.Now()
	if v.needed() && now.After(v.front.needed) {
		v.front.needed = now
	}
	if now.Sub(v.front.needed) >= v.st.Idle && v.park() {
		return
	}
	v.lookIn()
}

// needed reports whether somebody needs the service, or has since the last look.
func (v *svc) needed() bool {
	f := &v.front
	if v.leased() {
		return true
	}
	if f.sock == nil {
		// Of a socket that an earlier daemon took along, nothing can be told.
		return v.st.Listen.Held()
	}
	if f.proxy != nil {
		served := f.proxy.Served()
		changed := served != f.served
		f.served = served
		return changed || f.proxy.Open() > 0
	}
	if f.arrived {
		f.arrived = false
		f.took = f.took || f.waited.Len() == 0
		return true
	}
	n, err := f.sock.Count()
	f.took = f.took || n.Accepted > 0
	return err != nil || n.Waiting+n.Accepted > 0
}

// park stops the service because nobody needs it. A program can accept a connection between a count and its end, so it is
// counted again while the whole tree stands still: what comes then waits for the next run.
func (v *svc) park() bool {
	f := v.front
	var frozen *process.Frozen
	if f.sock != nil && f.proxy == nil {
		ctx, cancel := context.WithTimeout(context.Background(), freezing)
		defer cancel()
		var err error
		if frozen, err = v.proc.Freeze(ctx, v.holders()); err != nil {
			v.sup.o.Log.Warn("an idle service can't be stopped now", "service", v.name, "err", err)
			return false
		}
		if n, err := f.sock.Count(); err != nil || n.Waiting+n.Accepted > 0 || v.leased() {
			frozen.Thaw()
			v.front.needed = time.Now()
			return false
		}
	}
	v.st.State, v.st.Parking = service.Stopping, true
	v.st.Why = fmt.Sprintf("idle for %v", v.st.Idle)
	v.endIdle(frozen)
	return true
}

// endIdle is endTree for a stop that nobody asked for, which must cut nobody short. frozen may be nil.
func (v *svc) endIdle(frozen *process.Frozen) {
	f := v.front
	v.sparing.Store(true)
	v.endTreeWith(process.Stop{Frozen: frozen, Spare: func() bool { return v.sparing.Load() && busy(f) }})
}

// busy reports that somebody is being served. Connections that wait can go on waiting.
func busy(f front) bool {
	switch {
	case f.proxy != nil:
		return f.proxy.Open() > 0
	case f.sock == nil:
		return false
	}
	n, err := f.sock.Count()
	return err != nil || n.Accepted > 0
}

// parked is the end of a stop that nobody asked for.
func (v *svc) parked() {
	v.st.Parking = false
	if v.st.Listen.Held() {
		v.rested()
		return
	}
	v.st.Want, v.st.Why = service.Down, fmt.Sprintf("idle for %v", v.st.Idle)
}
