package process

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leaderIsKept: waitChild reaps.
const leaderIsKept = false

// handle is a pid with its start time, since darwin has no pidfds: what it is used for is checked just before.
type handle struct {
	pid   int
	start uint64
	child bool

	closeOnce sync.Once
	closed    chan struct{}
	waitOnce  sync.Once
	gone      chan struct{}
	exit      Exit // written before gone is closed
}

// strangerPoll is how often a process that is not our child is looked at.
const strangerPoll = 50 * time.Millisecond

func forkExec(path string, args []string, attr *syscall.ProcAttr) (int, *handle, error) {
	pid, err := syscall.ForkExec(path, args, attr)
	if err != nil {
		return 0, nil, err
	}
	h, err := openHandle(pid)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return 0, nil, err
	}
	h.child = true
	return pid, h, nil
}

func openHandle(pid int) (*handle, error) {
	info, err := stat(pid)
	if err != nil {
		return nil, os.ErrProcessDone
	}
	return &handle{
		pid: pid, start: info.Start, child: info.PPid == os.Getpid(),
		closed: make(chan struct{}), gone: make(chan struct{}),
	}, nil
}

func (h *handle) wait() bool {
	h.waitOnce.Do(func() {
		if h.child {
			go h.waitChild()
		} else {
			go h.pollStranger()
		}
	})
	select {
	case <-h.gone:
		return true
	case <-h.closed:
		return false
	}
}

// waitChild blocks a thread and reaps at the exit: the group is not pinned as on Linux.
func (h *handle) waitChild() {
	var status unix.WaitStatus
	_, err := unix.Wait4(h.pid, &status, 0, nil)
	for err == unix.EINTR {
		_, err = unix.Wait4(h.pid, &status, 0, nil)
	}
	if err == nil {
		h.exit = exitOf(syscall.WaitStatus(status))
	}
	close(h.gone)
}

func (h *handle) pollStranger() {
	t := time.NewTicker(strangerPoll)
	defer t.Stop()
	for h.alive() {
		select {
		case <-t.C:
		case <-h.closed:
			return
		}
	}
	close(h.gone)
}

func (h *handle) alive() bool {
	info, err := stat(h.pid)
	return err == nil && info.Start == h.start && !info.Dead()
}

func (h *handle) exited() bool {
	select {
	case <-h.gone:
		return true
	default:
		return false
	}
}

func (h *handle) signal(sig syscall.Signal) error {
	if info, err := stat(h.pid); err != nil || info.Start != h.start {
		return os.ErrProcessDone
	}
	return doneIfGone(unix.Kill(h.pid, sig))
}

func (h *handle) signalGroup(_ ID, sig syscall.Signal) error {
	return doneIfGone(unix.Kill(-h.pid, sig))
}

func doneIfGone(err error) error {
	if err == unix.ESRCH {
		return os.ErrProcessDone
	}
	return err
}

// groupPinned believes a number while its group has members: a pid is not given out again while it names a group.
func (h *handle) groupPinned(ID) bool { return unix.Kill(-h.pid, 0) != unix.ESRCH }

func (h *handle) isChild() bool { return h.child }

func (h *handle) status(ID) Exit {
	<-h.gone
	return h.exit
}

func (h *handle) reap() error { return nil } // waitChild did

func (h *handle) destroy() {
	_ = unix.Kill(h.pid, unix.SIGKILL)
	h.wait()
	h.close()
}

func (h *handle) close() { h.closeOnce.Do(func() { close(h.closed) }) }

// zombieExit: darwin does not tell.
func (id ID) zombieExit() Exit { return Exit{} }
