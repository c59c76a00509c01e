package supervisor

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/hobworks/hob/internal/service"
)

// sorted gives the names with what each needs before it, and otherwise in their order. What is needed
// and not among them is left out. A circle is cut somewhere: config refuses them, and nothing may hang on one.
func sorted(names []string, needs func(name string) []service.Need) []string {
	var out []string
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, n := range needs(name) {
			if slices.Contains(names, n.Name) {
				visit(n.Name)
			}
		}
		out = append(out, name)
	}
	for _, name := range names {
		visit(name)
	}
	return out
}

// startNeeds lets everything start that the service needs, whatever is needed first, first. It waits for none.
func (s *Supervisor) startNeeds(name string) {
	for _, n := range s.closure(name) {
		v, err := s.get(n.Name)
		if err != nil {
			continue
		}
		st := v.status()
		if st.State.Up() || st.State.Pending() || st.State == service.Starting ||
			n.For == service.NeedDone && st.State == service.Done && st.Want == service.Up {
			continue
		}
		v.send(event{kind: evStart, lazy: true})
	}
}

// closure lists what a service needs, directly or not, in an order in which it can be started.
func (s *Supervisor) closure(name string) []service.Need {
	var out []service.Need
	seen := map[string]bool{name: true}
	var visit func(name string)
	visit = func(name string) {
		st, err := s.Status(name)
		if err != nil {
			return
		}
		for _, n := range st.Needs {
			if !seen[n.Name] {
				seen[n.Name] = true
				visit(n.Name)
				out = append(out, n)
			}
		}
	}
	visit(name)
	return out
}

// End is StopAll for good: nothing is started any more, whoever asks for it, or has asked.
func (s *Supervisor) End(ctx context.Context) {
	s.ending.Store(true)
	_, _ = s.StopAll(ctx, false) // which has said what is left
}

// StopAll stops every service, each when nothing runs any more that needs it, and at once where there
// is no such order. It waits until nothing of any is left; when ctx ends there is no more grace. With
// forget the ad-hoc ones are forgotten, their logs kept; not one that can't be stopped, of which the error tells.
func (s *Supervisor) StopAll(ctx context.Context, forget bool) ([]service.Status, error) {
	return s.stopInOrder(s.services(), func(v *svc) (service.Status, error) {
		defer v.send(event{kind: evLetGo})
		return s.stopOne(ctx, v, forget)
	})
}

// stopInOrder calls stop for each once it has returned for all that need it.
func (s *Supervisor) stopInOrder(some []*svc, stop func(*svc) (service.Status, error)) ([]service.Status, error) {
	byName := make(map[string]service.Status, len(some))
	names := make([]string, len(some))
	for i, v := range some {
		byName[v.name], names[i] = v.status(), v.name
	}
	order := sorted(names, func(name string) []service.Need { return byName[name].Needs })
	rank := make(map[string]int, len(order))
	stopped := make(map[string]chan struct{}, len(order))
	for i, name := range order {
		rank[name], stopped[name] = i, make(chan struct{})
	}
	out, errs := make([]service.Status, len(some)), make([]error, len(some))
	var wg sync.WaitGroup
	for i, v := range some {
		wg.Go(func() {
			for _, other := range order {
				if rank[other] > rank[v.name] && needs(byName[other], v.name) {
					<-stopped[other]
				}
			}
			out[i], errs[i] = stop(v)
			if slices.Index(names, v.name) == i { // a name may be there twice
				close(stopped[v.name])
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

func (s *Supervisor) stopOne(ctx context.Context, v *svc, forget bool) (service.Status, error) {
	st, err := v.stop(ctx)
	if errors.Is(err, ErrClosed) && v.over.Load() { // somebody else forgets it just now
		<-v.removed
		return st, nil
	}
	if err != nil {
		s.o.Log.Error("stop", "service", v.name, "err", err)
		return st, err
	}
	if forget && st.Source == service.SourceRun && !st.State.Alive() {
		if err := v.remove(false); err != nil {
			s.o.Log.Error("forget", "service", v.name, "err", err)
		}
	}
	return st, nil
}
