package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Frozen is a tree that stands still.
type Frozen struct {
	p      *Process
	all    map[ID]*still
	thawed bool // nothing is left to do
}

// still is a member that was stopped. The leader has no handle here: it has its own.
type still struct {
	Info
	h    *handle
	ours bool // it ran before
}

// Freeze stops the whole tree, by SIGSTOP, and returns when every thread of it stands still and a look found nobody else:
// from then on it accepts, answers and forks nothing until it is continued. Who was stopped by somebody else is left so by
// Thaw. When ctx ends before, the tree goes on, and the error says for whom it was waited.
//
// A signal with a default action that is sent to a stopped process ends it without another instruction of its
// own (signal(7)); one that is caught is handled once it is continued, before anything else by the thread that
// handles it.
//
// The caller calls Thaw, or ends the tree. On darwin the error is errors.ErrUnsupported.
func (p *Process) Freeze(ctx context.Context, extra Holders) (*Frozen, error) {
	f := &Frozen{p: p, all: map[ID]*still{}}
	err := f.freeze(ctx, extra)
	if err != nil {
		f.Thaw()
		return nil, fmt.Errorf("stop the tree of %s for a moment: %w", p, err)
	}
	return f, nil
}

// freeze looks, stops whom it finds, and ends when two looks in a row found nobody new. Who is stopped forks nothing, so a
// second look is only for what was forked during the first.
func (f *Frozen) freeze(ctx context.Context, extra Holders) error {
	if !canFreeze {
		return errors.ErrUnsupported
	}
	for quiet := 0; quiet < 2; quiet++ {
		found, _, err := f.p.tree(extra)
		if err != nil {
			return err
		}
		for _, info := range found {
			fresh, err := f.stop(info)
			if err != nil {
				return err
			}
			if fresh {
				quiet = 0
			}
		}
		for _, s := range f.all {
			if err := s.wait(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// stop sends SIGSTOP to a member that has not had it. fresh: it was found for the first time.
func (f *Frozen) stop(info Info) (fresh bool, err error) {
	id := ID{Pid: info.Pid, Start: info.Start, Boot: f.p.id.Boot}
	if f.all[id] != nil {
		return false, nil
	}
	s, err := f.open(id, info)
	if s == nil || err != nil {
		return false, err
	}
	f.all[id] = s
	if err := f.send(s, unix.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return true, err
	}
	return true, nil
}

// open gives the member that info is about, nil if it has gone meanwhile.
func (f *Frozen) open(id ID, info Info) (*still, error) {
	s := &still{Info: info, ours: info.State != 'T'}
	if id == f.p.id {
		return s, nil
	}
	var err error
	if s.h, err = openMember(info); s.h == nil {
		return nil, err
	}
	return s, nil
}

func (f *Frozen) send(s *still, sig syscall.Signal) error {
	return f.p.signalMember(s.h, s.Pid, sig)
}

// wait returns when every thread of the member stands still, or it is gone.
func (s *still) wait(ctx context.Context) error {
	for {
		state, still := threadsStill(s.Pid)
		if still {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("pid %d (%s) is in state %c: %w", s.Pid, s.Command, state, err)
		}
		pause(ctx, stillPause)
	}
}

// Thaw lets those go on that Freeze has stopped. It may be called again, also when some of them have ended.
func (f *Frozen) Thaw() {
	if f.thawed {
		return
	}
	f.thawed = true
	for _, s := range f.all {
		if s.ours {
			_ = f.send(s, unix.SIGCONT)
		}
		s.close()
	}
}

// close lets go of a tree that ends as it is. A nil Frozen does nothing.
func (f *Frozen) close() {
	if f == nil || f.thawed {
		return
	}
	f.thawed = true
	for _, s := range f.all {
		s.close()
	}
}

func (s *still) close() {
	if s.h != nil {
		s.h.close()
	}
}

// Continue lets those of the tree go on that stand still: for a tree that somebody may have frozen who was killed before he could
// let it go on. It can't tell those whom a person has stopped. On darwin it does nothing.
func (p *Process) Continue(extra Holders) error {
	if !canFreeze {
		return nil
	}
	found, _, err := p.tree(extra)
	if err != nil {
		return err
	}
	f := &Frozen{p: p, all: map[ID]*still{}}
	for _, info := range found {
		if info.State != 'T' && info.State != 'D' { // D: it waits for a child that is stopped, vfork(2)
			continue
		}
		id := ID{Pid: info.Pid, Start: info.Start, Boot: p.id.Boot}
		s, err := f.open(id, info)
		if s == nil || err != nil {
			continue // it is gone
		}
		s.ours = true
		f.all[id] = s
	}
	f.Thaw()
	return nil
}

// wake has a termination begin with a tree that stands still: all of it get the signal, and then go on. The caller has just seen that nobody would be cut
// short, and nothing comes in between. What a member does that catches the signal is its own, from then on. A nil Frozen does nothing.
func (f *Frozen) wake(t *termination, sig syscall.Signal) {
	if f == nil || f.thawed {
		return
	}
	for _, next := range []syscall.Signal{sig, unix.SIGCONT} {
		for _, s := range f.all {
			t.note(f.send(s, next))
		}
	}
	for _, s := range f.all {
		if m, err := t.open(s.Info); err == nil && m != nil {
			m.sent = sig // it has had it
		}
	}
	f.close()
}
