// Package readiness finds out when a service is ready: by a line of its log, a port, a URL, a command, sd_notify(3)
// or a descriptor. It waits for events where there are any and asks again and again where there are none; and it
// believes an answer on a port only if it is the service's own: somebody else who answers there is a reason to
// fail, not to look ready.
//
// It never starts, stops or restarts the service.
package readiness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hobworks/hob/internal/sdnotify"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
	"github.com/hobworks/hob/internal/sockets"
)

// Target is the run that is to become ready.
type Target struct {
	Env    []string              // the service's environment and directory, for exec
	Dir    string                //
	Tree   func() ([]int, error) // pids of the run's processes now
	Log    string                // directory of the service's log
	From   servicelog.Position   // and where that of this run begins
	Notify *sdnotify.Socket      // for notify
	FD     *os.File              // what the run writes to its readiness descriptor; it has to support deadlines
	Found  func(service.Address) // told where the run listens, with r.Own, from within Wait
}

// TimeoutError says that a service was not ready in time, and what is missing.
type TimeoutError struct {
	After   time.Duration
	Missing string // "port 5432 does not accept"
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("not ready after %v: %s", e.After, e.Missing)
}

// The pauses between two tries.
const (
	firstPause = 20 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// Wait blocks until the target is ready. Otherwise the error is a *TimeoutError once r.Timeout is over (service.DefaultReadyTimeout
// when that is 0), a *sockets.TakenError when another process answers in the target's place, or that of ctx when it ends. status, unless it is nil, is
// called from within Wait with what the service or the check says meanwhile. Wait closes nothing.
func Wait(ctx context.Context, r service.Readiness, t Target, status func(string)) error {
	w := &waiter{r: r, t: t, status: status, after: cmp.Or(r.Timeout, service.DefaultReadyTimeout)}
	if status == nil {
		w.status = func(string) {}
	}
	inTime, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.timer = time.AfterFunc(w.after, func() { cancel(errTimeout) })
	defer w.timer.Stop()
	err := w.wait(inTime)
	if err != nil && errors.Is(context.Cause(inTime), errTimeout) && ctx.Err() == nil {
		return &TimeoutError{After: w.after, Missing: w.missing}
	}
	return err
}

var errTimeout = errors.New("not ready in time")

// waiter is one Wait.
type waiter struct {
	r       service.Readiness
	t       Target
	status  func(string)
	after   time.Duration
	timer   *time.Timer
	missing string // what a time-out would say
}

func (w *waiter) wait(ctx context.Context) error {
	switch r := w.r; {
	case r.Log != "":
		return w.forLine(ctx)
	case r.Notify:
		return w.forNotification(ctx)
	case r.FD != 0:
		return w.forNewline(ctx)
	case r.TCP != "", r.HTTP != "", len(r.Exec) > 0, r.Own:
		return w.poll(ctx, w.try)
	}
	return nil
}

// try asks once.
func (w *waiter) try(ctx context.Context) error {
	switch r := w.r; {
	case r.TCP != "":
		return w.owned(r.TCP, dialTCP(ctx, r.TCP))
	case r.HTTP != "":
		address, err := get(ctx, r.HTTP)
		return w.owned(address, err)
	case r.Own:
		return w.find()
	}
	return w.exec(ctx)
}

// poll asks until there is no error. A *sockets.TakenError ends it.
func (w *waiter) poll(ctx context.Context, try func(context.Context) error) error {
	for pause := firstPause; ; pause = nextPause(pause) {
		err := try(ctx)
		var taken *sockets.TakenError
		if err == nil || errors.As(err, &taken) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if text := err.Error(); text != w.missing {
			w.missing = text
			w.status(text)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func nextPause(pause time.Duration) time.Duration { return min(2*pause, maxPause) }
