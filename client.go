package hob

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"time"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/probe"
)

// The built-in methods that every daemon answers, beside the frozen ones of package probe.
var (
	statusMethod = ipc.Method[struct{}, Status]{Name: "hob.status",
		Doc: "Describes the daemon that answers."}
	stopMethod = ipc.Method[struct{}, struct{}]{Name: "hob.stop",
		Doc: "Asks the daemon to stop what it runs and to leave; it has left when the lock is free. One that already leaves what it runs for the next daemon answers draining."}
	upgradeMethod = ipc.Method[upgradeParams, upgradeResult]{Name: "hob.upgrade",
		Doc: "Asks the daemon to become the program that is named, in place, and answers when it has; that program is tried first. A daemon that can't do that retires, if nobody else has a session, and says so."}
)

// Call calls a method and decodes its result into result, which may be nil. It blocks until
// the answer is there, ctx ends or the connection does. The error is an *Error; with Code "lost"
// nobody knows whether the call was carried out.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	return answerError(method, c.conn.Call(ctx, method, params, result))
}

// Notify sends a notification: nobody answers.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	return answerError(method, c.conn.Notify(ctx, method, params))
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.conn.Done() }

// Close ends the connection, and with it the lease.
func (c *Client) Close() error { return c.conn.Close() }

// Welcome is what the daemon said of itself when it was connected to, or upgraded by this client; State is "ready".
func (c *Client) Welcome() Status {
	s := status(c.inst)
	w := c.welcome.Load()
	s.State, s.Pid, s.Version = string(probe.Ready), w.Pid, w.Build
	s.Protocol, s.StartedAt, s.Foreground = w.Protocol, w.StartedAt, w.Foreground
	return s
}

// Stop asks the daemon to leave and waits until it has: until its lock is free, or another
// daemon's. With keep, what it runs is left for the next daemon. ctx bounds the wait; without a deadline it ends when the
// daemon does.
func (c *Client) Stop(ctx context.Context, keep bool) error {
	attempt := lastAttempt(c.inst)
	var err error
	if keep {
		_, err = probe.RetireMethod.Call(ctx, c.conn, probe.Retire{Reason: "asked to", Client: "hob"})
	} else {
		_, err = stopMethod.Call(ctx, c.conn, struct{}{})
	}
	if err := answerError("stop the daemon", err); err != nil {
		return err
	}
	return waitGone(ctx, c.inst, attempt)
}

// lastAttempt is the number of the attempt that the daemon of now came of.
func lastAttempt(inst instance.Instance) int64 {
	state, err := inst.OpenState(false)
	if err != nil {
		return math.MaxInt64 // which one is not known, so none is seen to be later
	}
	defer state.Close()
	rec, _ := lock.ReadRecord(state, inst.LockName())
	return rec.Attempt
}

// waitGone waits until nobody holds the instance's lock and guard, or until a later attempt
// than the given one was begun, for which the lock must have been free in between: somebody who
// waits for a service starts the next daemon at once.
func waitGone(ctx context.Context, inst instance.Instance, attempt int64) error {
	state, err := inst.OpenState(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing is there that could be held
	}
	if err != nil { // for want of a descriptor: it may be held
		return verdictError(inst, probe.Report{Verdict: probe.Unknown, Err: err})
	}
	defer state.Close()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		held, pid := probe.Held(inst, state)
		if rec, ok := lock.ReadRecord(state, inst.LockName()); !held || ok && rec.Attempt > attempt {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			r := probe.Report{Verdict: probe.Stopping, Pid: pid, Err: ctx.Err()}
			e := verdictError(inst, r)
			e.Code = "timeout"
			return e
		}
	}
}

// Probe says what is so of the instance's daemon: it connects, asks, and where nobody answers
// looks at the lock and the files. It starts nothing, creates nothing and takes no lock. The error
// is nil when the daemon is ready, else an *Error with the verdict; Status is filled in as far
// as things are known in either case. Without a deadline of ctx it takes 10 s at most.
func Probe(ctx context.Context, inst Instance) (Status, error) {
	i, err := inst.resolve()
	if err != nil {
		return Status{State: string(probe.Unknown)}, err
	}
	ctx, _, end := withPatience(ctx, dialPatience)
	defer end()
	r := probe.Probe(ctx, i, hello(i, "", ""))
	s := status(i)
	s.State, s.Pid = string(r.Verdict), r.Pid
	if r.Verdict == probe.Ready {
		s.Version, s.Protocol, s.StartedAt, s.Foreground = r.Welcome.Build, r.Welcome.Protocol, r.Welcome.StartedAt, r.Welcome.Foreground
		return s, nil
	}
	return s, verdictError(i, r)
}
