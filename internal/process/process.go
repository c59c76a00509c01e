package process

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

// Process is a leader, started or adopted, and the root of a tree. All methods may be called from several
// goroutines at once. While it is not released it costs one descriptor (Linux) and one parked goroutine.
type Process struct {
	id    ID
	mark  string
	h     *handle // nil: only remains, see Remains
	child bool    // ours to reap

	done chan struct{}

	mu       sync.Mutex // guards exit, released and the step from unreaped to reaped
	exit     Exit
	released bool
}

var errExited = fmt.Errorf("it has exited: %w", os.ErrProcessDone)

func newProcess(id ID, mark string, h *handle) *Process {
	return &Process{id: id, mark: mark, h: h, done: make(chan struct{})}
}

// begin enters p into the list of leaders and watches for its end. The caller holds reaping for reading.
func (p *Process) begin() {
	leaders.add(p)
	go func() {
		if p.h.wait() {
			p.observe()
		}
	}()
}

// Adopt takes charge of a process that was started earlier, by a predecessor of this program: still our child after
// an exec, somebody else's after a crash. It must run, or be our zombie child, whose exit is then known at once;
// else the error wraps os.ErrProcessDone. After an exec, adopt all before the first [Reaper.Reap].
//
// The exit of a process that is not our child is known on Linux 6.15 or later, or when it is seen before its
// parent reaps it; otherwise Exit.Known is false.
func Adopt(id ID, mark string) (*Process, error) {
	reaping.RLock()
	defer reaping.RUnlock()

	if id.Pid == os.Getpid() {
		return nil, fmt.Errorf("adopt pid %d: it is this process", id.Pid)
	}
	// The handle first: once it is open the pid cannot pass to another process unnoticed, and only then does
	// a look at the identity prove anything about the handle.
	h, err := openHandle(id.Pid)
	if err != nil {
		return nil, fmt.Errorf("adopt pid %d: %w", id.Pid, err)
	}
	info, err := id.look()
	if err == nil && info.Dead() && !h.isChild() {
		err = errExited
	}
	if err != nil {
		h.close()
		return nil, fmt.Errorf("adopt pid %d: %w", id.Pid, err)
	}
	p := newProcess(id, mark, h)
	p.child = h.isChild()
	p.begin()
	return p, nil
}

// Remains is a Process without a leader: what one that is gone and was never adopted may have left behind, known by
// its mark and by the files it holds. Its ID is zero, it is done, its exit unknown. Tree and Terminate work.
func Remains(mark string) *Process {
	p := newProcess(ID{}, mark, nil)
	p.released = true
	close(p.done)
	return p
}

// ID returns the leader's identity.
func (p *Process) ID() ID { return p.id }

// Done returns a channel that is closed when the leader has exited. The leader is not reaped by that (Linux), and
// others of its tree may still run. If Release comes before the exit, it is never closed.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exited reports whether the leader has exited, also a moment before Done is closed. It does not wait.
func (p *Process) Exited() bool {
	p.observe()
	return p.isDone()
}

// Exit returns how the leader ended; the zero Exit before Done is closed.
func (p *Process) Exit() Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// observe records the exit, if the leader has exited and it was not recorded yet.
func (p *Process) observe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observeLocked()
}

func (p *Process) observeLocked() {
	if p.released || p.isDone() || !p.h.exited() {
		return
	}
	p.exit = p.h.status(p.id)
	close(p.done)
}

func (p *Process) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *Process) isReleased() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.released
}

// String returns "pid 42", or the mark of what has no leader.
func (p *Process) String() string {
	if p.h == nil {
		return fmt.Sprintf("mark %q", p.mark)
	}
	return fmt.Sprintf("pid %d", p.id.Pid)
}

// Signal sends sig to the leader alone. The error wraps os.ErrProcessDone when it is gone. A leader that has exited
// and is not reaped takes any signal without effect.
func (p *Process) Signal(sig syscall.Signal) error {
	if p.h == nil {
		return os.ErrProcessDone
	}
	if err := p.h.signal(sig); err != nil {
		return fmt.Errorf("send %s to pid %d: %w", signalName(sig), p.id.Pid, err)
	}
	return nil
}

// SignalGroup sends sig to the leader's process group, also when the leader itself has exited. The error wraps
// os.ErrProcessDone when the group is empty, or cannot be told from another one of the same number any more.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	if p.h == nil {
		return os.ErrProcessDone
	}
	if err := p.h.signalGroup(p.id, sig); err != nil {
		return fmt.Errorf("send %s to process group %d: %w", signalName(sig), p.id.Pid, err)
	}
	return nil
}

// Release reaps the leader, if it is our child and has exited, and closes what p holds. Call it when the group is
// empty or is to be left alone: from then on the group's number may be used again, and the tree is known by mark
// and files only. A leader that still runs is let go: it runs on, Done stays open, a Reaper collects it.
// Further calls do nothing.
func (p *Process) Release() error {
	reaping.RLock()
	defer reaping.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil
	}
	p.observeLocked()
	p.released = true
	var err error
	if p.isDone() {
		err = p.h.reap()
	}
	p.h.close()
	leaders.remove(p)
	if err != nil {
		return fmt.Errorf("reap pid %d: %w", p.id.Pid, err)
	}
	return nil
}
