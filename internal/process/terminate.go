package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killPatience bounds how long what was sent SIGKILL is waited for. A process in state D or in a frozen
	// cgroup does not end until that does.
	killPatience = 10 * time.Second
	// killRound is how long after a SIGKILL the next look is taken: what forks faster than it is killed is caught
	// by the look, not by waiting.
	killRound = 100 * time.Millisecond
	// retryPause comes between two looks where there is nothing to wait on.
	retryPause = 5 * time.Millisecond
)

// Stop says how to end a tree.
type Stop struct {
	Signal  syscall.Signal // first; 0: SIGTERM
	Grace   time.Duration  // from the signal to SIGKILL; 0 or less: SIGKILL at once
	Holders Holders        // see Tree

	// Free reports that none has what each of the tree inherits, unless it has given it away: see [Process.Alone]. Where that is so, too, no
	// more looks are taken for what may be left; nil: they always are.
	Free func() bool

	// Frozen is the tree as [Process.Freeze] has left it; nil: it runs. It gets Signal before anything else happens, and goes on
	// with that.
	Frozen *Frozen

	// Spare is for a stop that must cut nobody short; nil: there is no such scruple. It is asked when Grace is over, while
	// the whole tree stands still. As long as it says true the tree is let go on, and asked about again; false means
	// SIGKILL. It is not asked when ctx has ended, which ends all patience.
	Spare func() bool
}

// LeftError reports what outlived SIGKILL.
type LeftError struct {
	Tree string // "pid 42"
	Left []Info // may be empty, if Err says why nothing is known
	Err  error  // why the last look or signal went wrong, if it did
}

// Error names the pids that are left.
func (e *LeftError) Error() string {
	if len(e.Left) == 0 && e.Err != nil {
		return fmt.Sprintf("end the tree of %s: %v", e.Tree, e.Err)
	}
	names := make([]string, len(e.Left))
	for i, info := range e.Left {
		names[i] = fmt.Sprintf("pid %d (%s, state %c)", info.Pid, info.Command, info.State)
	}
	text := fmt.Sprintf("end the tree of %s: %s left after SIGKILL", e.Tree, strings.Join(names, ", "))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *LeftError) Unwrap() error { return e.Err }

// Terminate ends the whole tree: it sends the signal, then SIGCONT, to every member, waits for all of them until
// Grace is over or ctx is done, sends SIGKILL to what is left, and returns when two looks in a row found nothing.
// What a member forks while it ends, to clean up, gets the signal only once all that had it are gone.
//
// It blocks up to Grace and about ten seconds, whatever ctx says. It returns what it had to kill, by pid. The error is a
// *LeftError when something outlived that. The leader is not reaped, and its group being empty, may then be:
// see Release. It may be called when the leader has exited, for the rest of its tree.
func (p *Process) Terminate(ctx context.Context, s Stop) (killed []Info, err error) {
	t := &termination{p: p, holders: s.Holders, free: s.Free, members: map[ID]*member{}}
	defer t.close()
	// The leader's end is recorded by the time that its tree is said to be gone.
	defer p.observe()
	if s.Signal == 0 {
		s.Signal = unix.SIGTERM
	}
	s.Frozen.wake(t, s.Signal)
	if s.Grace > 0 {
		grace, cancel := context.WithTimeout(ctx, s.Grace)
		gone := t.end(grace, s.Signal)
		cancel()
		if gone {
			return nil, t.verify()
		}
	}
	if s.Spare != nil && t.spare(ctx, s) {
		return nil, t.verify()
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	if t.end(patience, unix.SIGKILL) {
		return t.killed(), t.verify()
	}
	return t.killed(), &LeftError{Tree: p.String(), Left: t.found, Err: t.err}
}

// The pauses between two questions whether the tree is to be spared.
const (
	firstSpare = 25 * time.Millisecond
	lastSpare  = 500 * time.Millisecond
)

// spare returns when nobody is served any more, with the tree standing still, or when ctx ends; true means that the tree
// has ended by itself meanwhile.
func (t *termination) spare(ctx context.Context, s Stop) bool {
	for pause := firstSpare; ctx.Err() == nil; pause = min(2*pause, lastSpare) {
		frozen, err := t.p.Freeze(ctx, s.Holders)
		busy := s.Spare()
		if !busy {
			t.frozen = frozen // SIGKILL needs no thaw
			return false
		}
		if err == nil {
			frozen.Thaw()
		}
		round, cancel := context.WithTimeout(ctx, pause)
		gone := t.end(round, s.Signal)
		cancel()
		if gone {
			return true
		}
	}
	return false
}

// verify finds the one leader that no look shows and that runs: an ancestor of this process.
func (t *termination) verify() error {
	if info, err := t.p.id.look(); t.p.h != nil && err == nil && !info.Dead() {
		return &LeftError{Tree: t.p.String(), Left: []Info{info}, Err: errors.New("it is an ancestor of this process")}
	}
	return nil
}

// termination is one call of Terminate.
type termination struct {
	p       *Process
	holders Holders
	free    func() bool
	apart   bool           // somebody was found who did not descend from the leader
	members map[ID]*member // everything ever found, by pid and start; the boot is this one
	found   []Info         // by the last look
	group   bool           // by the last look that worked: all of the group is to be ended, too
	err     error          // of the last look and its signals
	frozen  *Frozen        // by spare, and to stay so
}

// member is one process to end. The leader has no handle here: it has its own.
type member struct {
	Info
	h    *handle
	gone <-chan struct{}
	sent syscall.Signal
}

func (t *termination) close() {
	t.frozen.close()
	for _, m := range t.members {
		if m.h != nil {
			m.h.close()
		}
	}
}

func (t *termination) killed() []Info {
	var killed []Info
	for _, m := range t.members {
		if m.sent == unix.SIGKILL {
			killed = append(killed, m.Info)
		}
	}
	slices.SortFunc(killed, func(a, b Info) int { return a.Pid - b.Pid })
	return killed
}

// end repeats look, signal, wait until nothing can be left, two looks in a row found nothing, or ctx is done (false).
func (t *termination) end(ctx context.Context, sig syscall.Signal) bool {
	for empty := 0; ctx.Err() == nil; {
		found, group, err := t.p.tree(t.holders)
		t.found, t.err = found, err
		if t.err != nil { // most likely out of descriptors
			if sig == unix.SIGKILL && t.group { // needs none, and does no harm twice
				_ = t.p.SignalGroup(sig)
			}
			pause(ctx, retryPause)
			continue
		}
		if len(t.found) == 0 {
			if empty++; empty == 2 {
				return true
			}
			continue
		}
		empty, t.group = 0, group
		t.apart = t.apart || !t.oneFamily()
		t.wait(ctx, sig, t.signal(group, sig))
		if ctx.Err() == nil && t.nothingLeft() {
			return true
		}
	}
	return false
}

// oneFamily reports that all who were found are the leader or descend from it: their parents are found, too, or this process, which takes in orphans.
func (t *termination) oneFamily() bool {
	return !slices.ContainsFunc(t.found, func(info Info) bool {
		return info.PPid != os.Getpid() && !slices.ContainsFunc(t.found, func(other Info) bool { return other.Pid == info.PPid })
	})
}

// nothingLeft knows without a look, where nobody was found who could have had children that are not seen by it.
func (t *termination) nothingLeft() bool {
	return !t.apart && t.free != nil && t.p.Alone() && t.free()
}

// signal sends sig to what was found and has not had it yet, and returns those to wait for. All are opened before any
// is signalled, because an opened one is still recognised when its parent has gone.
func (t *termination) signal(group bool, sig syscall.Signal) []*member {
	var all, fresh []*member
	grouped := func(info Info) bool { return group && info.Group == t.p.id.Pid }
	groupToo := false
	for _, info := range t.found {
		m, err := t.open(info)
		if err != nil {
			t.err = errors.Join(t.err, err)
		}
		// Also for one that has gone since the look: what it forked before that is in the group.
		groupToo = groupToo || grouped(info) && (m == nil || m.sent != sig)
		if m == nil {
			continue
		}
		all = append(all, m)
		if m.sent != sig {
			fresh = append(fresh, m)
		}
	}
	if groupToo {
		t.note(withContinue(t.p.SignalGroup, sig))
	}
	for _, m := range fresh {
		m.sent = sig
		if !grouped(m.Info) {
			t.note(withContinue(func(sig syscall.Signal) error { return t.send(m, sig) }, sig))
		}
	}
	return all
}

// withContinue sends sig, then SIGCONT, without which a stopped process would not see it; SIGKILL needs none. In the
// other order it would run on first.
func withContinue(send func(syscall.Signal) error, sig syscall.Signal) error {
	err := send(sig)
	if sig == unix.SIGKILL {
		return err
	}
	return errors.Join(err, send(unix.SIGCONT))
}

// note keeps an error, except the one that is the aim.
func (t *termination) note(err error) {
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.err = errors.Join(t.err, err)
	}
}

func (t *termination) send(m *member, sig syscall.Signal) error {
	return t.p.signalMember(m.h, m.Pid, sig)
}

// open returns the member that info is about, nil if it has gone meanwhile.
func (t *termination) open(info Info) (*member, error) {
	id := ID{Pid: info.Pid, Start: info.Start, Boot: t.p.id.Boot}
	if m := t.members[id]; m != nil {
		return m, nil
	}
	if id == t.p.id && !t.p.isReleased() {
		m := &member{Info: info, gone: t.p.done}
		t.members[id] = m
		return m, nil
	}
	h, err := openMember(info)
	if h == nil {
		return nil, err
	}
	gone := make(chan struct{})
	go func() {
		if h.wait() {
			close(gone)
		}
	}()
	m := &member{Info: info, h: h, gone: gone}
	t.members[id] = m
	return m, nil
}

// wait returns when all have gone or ctx is done; after a SIGKILL also when it is time to look again.
func (t *termination) wait(ctx context.Context, sig syscall.Signal, members []*member) {
	if sig == unix.SIGKILL {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, killRound)
		defer cancel()
	}
	for _, m := range members {
		select {
		case <-m.gone:
		case <-ctx.Done():
			return
		}
	}
	if len(members) == 0 {
		pause(ctx, retryPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
