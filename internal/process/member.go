package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// openMember opens the process that info is about, nil if it has gone since the look at it.
func openMember(info Info) (*handle, error) {
	h, err := openHandle(info.Pid)
	if errors.Is(err, os.ErrProcessDone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pid %d: %w", info.Pid, err)
	}
	// The pid may have passed on between the look and the opening; from here on it cannot, unseen.
	if now, err := Stat(info.Pid); err != nil || now.Start != info.Start || now.Dead() {
		h.close()
		return nil, nil
	}
	return h, nil
}

// signalMember sends to a member of p's tree: to p itself where h is nil.
func (p *Process) signalMember(h *handle, pid int, sig syscall.Signal) error {
	if h == nil {
		return p.Signal(sig)
	}
	if err := h.signal(sig); err != nil {
		return fmt.Errorf("send %s to pid %d: %w", signalName(sig), pid, err)
	}
	return nil
}
