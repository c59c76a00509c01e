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

// WaitReady waits until the service counts as running. One that ends, or that is not running and
// was not asked to, is an error.
func (s *Supervisor) WaitReady(ctx context.Context, name string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	st, err := v.await(ctx, func(st service.Status) bool { return st.State != service.Starting })
	if err == nil && st.State != service.Running && st.State != service.Done {
		err = fmt.Errorf("service %q: %w: %s", name, ErrNotRunning, words(st))
	}
	return st, err
}

// WaitExit waits until the service does not run; it may not run already.
func (s *Supervisor) WaitExit(ctx context.Context, name string) (service.Status, error) {
	v, err := s.get(name)
	if err != nil {
		return service.Status{}, err
	}
	return v.await(ctx, func(st service.Status) bool { return !st.State.Alive() })
}

// WaitLog waits until a line of the service's current or last run matches. A service that ends
// without one is an error.
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
	var left error // the service was let go: its end is the next daemon's to see
	go func() {
		_, left = v.await(alive, func(st service.Status) bool { return !st.State.Alive() })
		cancel()
	}()
	for {
		line, err := r.Follow(alive)
		if err != nil && alive.Err() != nil && ctx.Err() == nil {
			line, err = r.Next() // what it said last
		}
		switch {
		case err == nil && match(line.Text):
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
