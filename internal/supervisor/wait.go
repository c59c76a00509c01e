package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
)

// Prepare makes this process the parent of what its services leave behind.
func Prepare() error { return process.BecomeSubreaper() }

// WaitReady waits until the service is up or done. One that is down, and that nobody is about to start,
// is an error.
func (s *Supervisor) WaitReady(ctx context.Context, name string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	st, err := v.await(ctx, func(st service.Status) bool {
		return st.State != service.Starting && st.State != service.Unready && !st.State.Pending() && !(st.State == service.Stopping && st.Want == service.Up)
	})
	if err == nil && !st.State.Up() && st.State != service.Done {
		err = fmt.Errorf("service %q: %w: %s", name, ErrNotRunning, words(st))
	}
	return st, err
}

// WaitExit waits for the end of the run that there is, whatever follows from it; there may be none any
// more. The status says how that run ended, even where another one has begun since.
func (s *Supervisor) WaitExit(ctx context.Context, name string) (service.Status, error) {
	began, err := s.Status(name)
	if err != nil {
		return service.Status{}, err
	}
	return s.WaitExitOf(ctx, began)
}

// WaitExitOf is WaitExit for the run that there was when a service had the status.
func (s *Supervisor) WaitExitOf(ctx context.Context, began service.Status) (service.Status, error) {
	v, err := s.get(began.Name)
	if err != nil {
		return service.Status{}, err
	}
	return v.awaitExit(ctx, began)
}

func (v *svc) awaitExit(ctx context.Context, began service.Status) (service.Status, error) {
	st, err := v.await(ctx, func(st service.Status) bool {
		if began.State.Alive() {
			return !st.State.Alive() || st.Generation > began.Generation
		}
		return !st.State.Alive() && st.State != service.Waiting
	})
	if err != nil || !began.State.Alive() || st.State == service.Stopped && st.Generation == began.Generation {
		return st, err
	}
	for _, x := range st.Exits {
		if x.Generation == began.Generation {
			st.State, st.Pid, st.Why, st.Exit = stateAfter(x), 0, x.String(), &x
		}
	}
	return st, nil
}

// stateAfter is the state of a service that has ended so.
func stateAfter(x service.Exit) service.State {
	if x.Code == 0 {
		return service.Done
	}
	return service.Failed
}

// WaitLog waits until a line of the service's current or last run, or of one that follows by itself, matches. A
// service that ends for good without one is an error.
func (s *Supervisor) WaitLog(ctx context.Context, name string, match func([]byte) bool) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	st := v.status()
	r, err := servicelog.NewReader(s.logDir(name))
	if err != nil {
		return st, fmt.Errorf("service %q: %w", name, err)
	}
	defer r.Close()
	r.Seek(servicelog.Position(st.LogStart))
	alive, cancel := context.WithCancel(ctx)
	defer cancel()
	var last service.Status
	var left error // the service was let go: its end is the next daemon's to see
	go func() {
		last, left = v.await(alive, func(st service.Status) bool { return !st.State.Alive() && !st.State.Pending() })
		cancel()
	}()
	ended := false
	var whole servicelog.Joiner
	for {
		line, err := r.Follow(alive)
		if err != nil && alive.Err() != nil && ctx.Err() == nil {
			if !ended && left == nil && last.Exit != nil { // what is left of its tree may write on for ever
				r.Until(servicelog.Position(last.Exit.LogEnd))
			}
			ended = true
			line, err = r.Next() // what it said last
			if errors.Is(err, io.EOF) {
				if rest, ok := r.Rest(); ok { // without a newline
					line, err = rest, nil
				}
			}
		}
		switch {
		case err == nil && match(whole.Add(line)):
			return v.status(), nil
		case errors.Is(err, io.EOF) && left != nil:
			return st, left
		case errors.Is(err, io.EOF):
			return st, fmt.Errorf("service %q: %w, and no line matched: %s", name, ErrNotRunning, words(v.status()))
		case err != nil:
			return st, fmt.Errorf("wait for a line of %q: %w", name, err)
		}
	}
}

func words(st service.Status) string {
	if st.Why == "" {
		return string(st.State)
	}
	return string(st.State) + ", " + st.Why
}
