package hob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/process"
)

// Evict ends a daemon that does not answer: CONT and a last request to leave, then QUIT (its
// goroutines go to its log), then KILL, and waits until its lock is free. Never TERM: that would
// stop what the daemon runs, which is left for the next one instead. It is the one place of this
// package that signals a process, and it does so only when the lock is held and the attempt record
// names a process of this boot and this pid namespace with the very start time; a process that the
// caller descends from is never touched. Nothing to evict is no error.
func Evict(ctx context.Context, inst Instance) error {
	i, err := inst.resolve()
	if err != nil {
		return err
	}
	state, err := i.OpenState(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return verdictError(i, probe.Report{Verdict: probe.Unknown, Err: err})
	}
	defer state.Close()
	if held, _ := probe.Held(i, state); !held {
		return nil
	}
	rec, ok := lock.ReadRecord(state, i.LockName())
	p, err := culprit(rec, ok)
	if err != nil {
		held, _ := probe.Held(i, state)
		if now, ok := lock.ReadRecord(state, i.LockName()); !held || ok && now.Attempt > rec.Attempt { // it has ended meanwhile
			return nil
		}
		return &Error{Verdict: string(probe.Unresponsive), Code: "not_evicted", Pid: rec.Pid, Err: err,
			Message: fmt.Sprintf("replace the daemon of %s: %v", i.Root.Path, err),
			Hint:    hint(i, "see \"hob doctor\" for who holds the lock", "see who has "+i.LockPath()+" open")}
	}
	defer p.Release()
	return evict(ctx, i, p, rec.Attempt)
}

// culprit opens the process that the record names and verifies that it is the one: pidfd
// first, identity second, and every signal goes through the pidfd. Any other order was shown
// to kill strangers.
func culprit(rec lock.Record, ok bool) (*process.Process, error) {
	boot, err := process.BootID()
	if err != nil {
		return nil, err
	}
	ns, err := process.PidNamespace()
	if err != nil {
		return nil, err
	}
	switch {
	case !ok || rec.Pid == 0 || rec.Start == 0:
		return nil, errors.New("the lock is held, but no record says by whom")
	case rec.Boot != boot:
		return nil, errors.New("the record is of another boot")
	case rec.PidNS != ns:
		return nil, errors.New("it runs in another pid namespace, where its pid means somebody else")
	case descendsFrom(rec.Pid):
		return nil, fmt.Errorf("pid %d is an ancestor of this very command", rec.Pid)
	}
	return process.Adopt(process.ID{Pid: rec.Pid, Start: rec.Start, Boot: rec.Boot}, "")
}

func descendsFrom(pid int) bool {
	for at := syscall.Getpid(); at > 0; { // also 1: that of a container may be hobd
		if at == pid {
			return true
		}
		info, err := process.Stat(at)
		if err != nil {
			return false
		}
		at = info.PPid
	}
	return false
}

// steps of an eviction, each with the time it is given.
var steps = []struct {
	signal syscall.Signal
	wait   time.Duration
}{{syscall.SIGQUIT, 3 * time.Second}, {syscall.SIGKILL, 10 * time.Second}}

// leaveTime is how long one that has said that it leaves may take for that.
const leaveTime = 10 * time.Second

// leaves is false for one that does not.
func leaves(ctx context.Context, p *process.Process) bool {
	t := time.NewTimer(leaveTime)
	defer t.Stop()
	select {
	case <-p.Done():
	case <-ctx.Done():
	case <-t.C:
		return false
	}
	return true
}

func evict(ctx context.Context, i instance.Instance, p *process.Process, attempt int64) error {
	// A stopped process sees neither a request nor SIGQUIT.
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return unsent(ctx, i, p, attempt, err)
	}
	if askToLeave(ctx, i) && leaves(ctx, p) {
		return waitGone(ctx, i, attempt)
	}
	for _, s := range steps {
		if err := p.Signal(s.signal); err != nil {
			return unsent(ctx, i, p, attempt, err)
		}
		t := time.NewTimer(s.wait)
		select {
		case <-p.Done():
			t.Stop()
			return waitGone(ctx, i, attempt)
		case <-ctx.Done():
			t.Stop()
			return &Error{Code: "timeout", Pid: p.ID().Pid, Err: ctx.Err(),
				Message: fmt.Sprintf("end the daemon (pid %d): no end in time", p.ID().Pid)}
		case <-t.C:
		}
	}
	return &Error{Code: "not_evicted", Pid: p.ID().Pid,
		Message: fmt.Sprintf("end the daemon (pid %d): it is there even after SIGKILL", p.ID().Pid)}
}

// askTime is how long one may take to say that it leaves, on a slow machine, too; as long as for any other answer.
const askTime = 8 * time.Second

// askToLeave asks in the orderly way, and leaves time for the other ones.
func askToLeave(ctx context.Context, i instance.Instance) bool {
	limit := askTime
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)/3)
	}
	ctx, patience := probe.WithPatience(ctx, limit)
	defer patience.Stop()
	conn, r := probe.Contact(ctx, i, hello(i, "", ""), ipc.ConnOptions{})
	if r.Verdict != probe.Ready {
		return false
	}
	defer conn.Close()
	_, err := probe.RetireMethod.Call(ctx, conn, probe.Retire{Reason: "to be replaced", Client: "hob"})
	return err == nil
}

// unsent is what follows from a signal that could not be sent. A daemon that has gone meanwhile needs none.
func unsent(ctx context.Context, i instance.Instance, p *process.Process, attempt int64, err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return waitGone(ctx, i, attempt)
	}
	return &Error{Code: "not_evicted", Pid: p.ID().Pid, Err: err, Message: fmt.Sprintf("signal the daemon: %v", err)}
}
