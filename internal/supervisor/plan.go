package supervisor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"github.com/hobworks/hob/internal/service"
)

// Plan is a file of services to apply.
type Plan struct {
	Specs  []service.Spec // all of the file; their Env is not used
	Start  []string       // the services to start, with what they need among them
	Env    []string       // of the client that asks; nil: each service keeps the one that it has
	NewEnv []string       // for services that have none, when Env is nil
	Color  bool
	Whole  bool // services of an earlier file that this one does not have are stopped and forgotten, their logs kept
	NoWait bool // return when each is executed, or has to wait for something
}

// Apply makes what runs what the plan says and touches nothing else: a service is restarted when its
// command, directory or variables are other ones, and takes other settings as it runs. It waits for
// the verdict on every service of Start. read makes the plan when it is its turn, so that the newest reading of a file is the
// last one that is applied. The error is that of read, or joins a *DiedError for each that failed.
func (s *Supervisor) Apply(ctx context.Context, read func() (Plan, error)) ([]service.Status, error) {
	start, p, err := s.apply(ctx, read)
	if err != nil {
		return nil, err
	}
	out := make([]service.Status, len(start))
	errs := make([]error, len(start))
	var wg sync.WaitGroup
	for i, v := range start {
		wg.Go(func() { out[i], errs[i] = v.settled(ctx, v.status().Generation, p.NoWait) })
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// apply does what there is to do and returns the services to wait for.
func (s *Supervisor) apply(ctx context.Context, read func() (Plan, error)) (wait []*svc, p Plan, err error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if p, err = read(); err != nil {
		return nil, p, err
	}
	if err := s.refused(p); err != nil {
		return nil, p, err
	}
	names := make([]string, len(p.Specs))
	specs := make(map[string]*service.Spec, len(p.Specs))
	for i := range p.Specs {
		names[i], specs[p.Specs[i].Name] = p.Specs[i].Name, &p.Specs[i]
	}
	order := sorted(names, func(name string) []service.Need { return specs[name].Needs })
	// All are known, with their new needs, before the first starts, or one ends that others have needed; who waits looks at his when all have begun.
	defer s.lookAgain(order)
	var stale []*svc
	for _, name := range order {
		v, restart, err := s.learn(*specs[name])
		if err != nil {
			return nil, p, err
		}
		if restart {
			stale = append(stale, v)
		}
	}
	held := s.makeWay(ctx, p, specs, stale)
	var start []*svc
	for _, name := range order {
		v, err := s.get(name)
		if err != nil {
			continue
		}
		asked, st := slices.Contains(p.Start, name), v.status()
		starts := asked && wantsStart(st)
		if slices.Contains(held, v) {
			// Else somebody was quicker, with a start or a stop.
			starts = st.State == service.Waiting || st.State == service.Failed && st.Want == service.Up
		}
		if starts {
			start = append(start, v)
		}
		if asked {
			wait = append(wait, v)
		}
	}
	atOnce(start, specs, func(v *svc) { v.send(event{kind: evStart, spec: v.specFor(*specs[v.name], p), lazy: true}) })
	return wait, p, nil
}

// atOnce calls f for services that are in an order in which they can be started, for each after it was called for what it needs among them, and for as
// many at a time as there are processors.
func atOnce(inOrder []*svc, specs map[string]*service.Spec, f func(*svc)) {
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	done := make(map[string]chan struct{}, len(inOrder))
	var all sync.WaitGroup
	for _, v := range inOrder {
		var before []chan struct{}
		for _, n := range specs[v.name].Needs {
			if c := done[n.Name]; c != nil {
				before = append(before, c)
			}
		}
		over := make(chan struct{})
		done[v.name] = over
		all.Go(func() {
			defer close(over)
			for _, c := range before {
				<-c
			}
			turns <- struct{}{}
			f(v)
			<-turns
		})
	}
	all.Wait()
}

// refused says why the plan can't be applied: an ad-hoc service has one of the names.
func (s *Supervisor) refused(p Plan) error {
	for _, spec := range p.Specs {
		st, err := s.Status(spec.Name)
		if err == nil && st.Source == service.SourceRun && st.State.Active() && slices.Contains(p.Start, spec.Name) {
			return fmt.Errorf("service %q: %w: it runs ad hoc", spec.Name, ErrNameTaken)
		}
	}
	return nil
}

// learn makes a service of the file known. restart means that it runs as something else.
func (s *Supervisor) learn(spec service.Spec) (v *svc, restart bool, err error) {
	v, err = s.obtain(spec)
	if err != nil {
		return nil, false, err
	}
	st := v.status()
	active := st.State.Active()
	switch {
	case active && st.Source == service.SourceRun:
		return v, false, nil
	case active && !runsAs(st.Spec, spec):
		return v, true, nil
	}
	spec.Env, spec.Color = st.Env, st.Color
	if reflect.DeepEqual(st.Spec, spec) && st.Generation > 0 { // one that never ran may not be on disk yet
		return v, false, nil
	}
	if !v.send(event{kind: evSpec, spec: &spec}) {
		return nil, false, ErrClosed
	}
	st = v.status() // not adjusted, where somebody has started it since
	return v, st.State.Active() && st.Source != service.SourceRun && !runsAs(st.Spec, spec), nil
}

// runsAs reports whether a run of have is one of want, whatever else is set.
func runsAs(have, want service.Spec) bool {
	return have.Same(want) && slices.Equal(have.Set, want.Set) && have.Listen == want.Listen && have.TTY == want.TTY && have.Ready.Own == want.Ready.Own
}

// lookAgain has services that wait look at what they need, which may be something else now.
func (s *Supervisor) lookAgain(names []string) {
	for _, name := range names {
		if v, err := s.get(name); err == nil {
			v.send(event{kind: evNeeds, auto: true, free: true})
		}
	}
}

// adjust takes other settings without another run. Whoever says what it needs from now on has it look at that, once it is there.
func (v *svc) adjust(ev event) {
	spec := v.st.Spec
	if ev.spec != nil {
		spec = *ev.spec
		spec.Env, spec.Color = v.st.Env, v.st.Color // those are a start's to say
	}
	if ev.idle != nil {
		spec.Idle = *ev.idle
	}
	if (v.st.State == service.Starting || v.st.State.Serving()) && !runsAs(v.st.Spec, spec) {
		return // it has begun since the file was compared with it
	}
	v.setSpec(spec)
	if ev.spec != nil && v.st.State == service.Waiting {
		v.held = true // until lookAgain, which follows what the file says, and nothing else
	}
	if v.st.State == service.Idle {
		v.rested()
	}
	v.lookLater()
	v.keepChecking()
}

func (v *svc) setSpec(spec service.Spec) {
	switch {
	case v.st.Listen == spec.Listen:
	case v.st.State == service.Stopping: // who is served there still is; the next hobd does not take it for the new one
		if v.front.sock != nil {
			v.front.stale = v.front.of != spec.Listen
		}
		v.st.Held = v.front.sock != nil && !v.front.stale
	default:
		v.unhold()
	}
	v.st.Spec = spec
	v.st.EnvHash, v.st.SetHash = "", "" // those of the last one
	if v.out != nil {
		v.out.SetLimits(v.st.Log.Max, v.st.Log.Keep)
	}
}

// specFor is the spec with the environment to start it with.
func (v *svc) specFor(spec service.Spec, p Plan) *service.Spec {
	st := v.status()
	spec.Env, spec.Color = p.Env, p.Color
	if p.Env == nil {
		spec.Env, spec.Color = st.Env, st.Color
	}
	if spec.Env == nil {
		spec.Env = p.NewEnv
	}
	return &spec
}

// wantsStart reports whether up has to start it. What has done its work is left alone until down.
func wantsStart(st service.Status) bool {
	switch {
	case st.State == service.Idle:
		return !st.OnDemand()
	case st.State.Up(), st.State == service.Unready, st.State == service.Starting, st.State == service.Waiting:
		return false
	case st.State == service.Done:
		return st.Want == service.Down
	}
	return true
}

// makeWay ends what the plan does not have any more, and the stale runs. That may take long, so the starts that follow are written down before that. If this
// process does not come to them, the next one does, and nobody waits for what nobody starts. held are the services that wait for theirs.
func (s *Supervisor) makeWay(ctx context.Context, p Plan, specs map[string]*service.Spec, stale []*svc) (held []*svc) {
	hold := func(v *svc) event {
		return event{kind: evRestart, spec: v.specFor(*specs[v.name], p), lazy: true, hold: true, asked: slices.Contains(p.Start, v.name)}
	}
	promise := func(v *svc) event {
		ev := hold(v)
		ev.down = true
		return ev
	}
	var gone, promised []*svc
	if p.Whole {
		gone = s.others(p.Specs)
	}
	if len(stale) > 0 || slices.ContainsFunc(gone, func(v *svc) bool { return v.status().State.Active() }) {
		promised = s.unstarted(p.Start, stale)
		s.replace(ctx, promised, promise)
	}
	s.drop(ctx, gone)
	s.replace(ctx, stale, hold)
	return slices.Concat(stale, promised)
}

// unstarted are those of names that are down and to be started, but for some.
func (s *Supervisor) unstarted(names []string, but []*svc) (some []*svc) {
	for _, name := range names {
		v, err := s.get(name)
		if err != nil || slices.Contains(but, v) {
			continue
		}
		if st := v.status(); wantsStart(st) && !st.State.Alive() && st.State != service.Backoff { // which starts by itself
			some = append(some, v)
		}
	}
	return some
}

// others are the services that came from a file and are in none any more.
func (s *Supervisor) others(specs []service.Spec) (gone []*svc) {
	for _, v := range s.services() {
		known := slices.ContainsFunc(specs, func(spec service.Spec) bool { return spec.Name == v.name })
		if !known && v.status().Source != service.SourceRun {
			gone = append(gone, v)
		}
	}
	return gone
}

// drop ends services and forgets them.
func (s *Supervisor) drop(ctx context.Context, gone []*svc) {
	s.stopSome(ctx, gone)
	for _, v := range gone {
		if err := v.remove(false); err != nil {
			s.o.Log.Error("forget", "service", v.name, "err", err)
		}
	}
}

// replace ends runs for others to follow, and waits until nothing of any is left: one may want a port that another one had.
func (s *Supervisor) replace(ctx context.Context, stale []*svc, restart func(*svc) event) {
	var wg sync.WaitGroup
	for _, v := range stale {
		wg.Go(func() { _, _ = v.end(ctx, restart(v)) })
	}
	wg.Wait()
}

// stopSome stops services at once and waits for all.
func (s *Supervisor) stopSome(ctx context.Context, some []*svc) {
	var wg sync.WaitGroup
	for _, v := range some {
		wg.Go(func() { s.stopOne(ctx, v, false) })
	}
	wg.Wait()
}
