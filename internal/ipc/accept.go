package ipc

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the pause after an accept(2) that failed for want of something.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Accept waits for the next connection, which the caller closes. Where accept(2)
// fails, for want of descriptors or of memory or for whatever reason a kernel or
// a security module has, it pauses, 5 ms doubling to 1 s, and goes on: the
// listener stays readable then, and a loop that retried at once would spin. The
// first failure of a row is given to failed, if that is not nil. It returns
// net.ErrClosed after Close, and any other error only of what is no listener
// any more.
func (l *Listener) Accept(failed func(error)) (*net.UnixConn, error) {
	c, err := acceptPatiently(l.acceptOne, l.closed, failed)
	if err != nil {
		return nil, pathError("accept", l.dir, l.name, err)
	}
	return c, nil
}

// acceptOne waits while the listener is suspended.
func (l *Listener) acceptOne() (*net.UnixConn, error) {
	for {
		l.gate.enter(func() {})
		c, err := l.l.AcceptUnix()
		if !l.gate.leave() && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		return c, err
	}
}

func acceptPatiently(accept func() (*net.UnixConn, error), closed <-chan struct{}, failed func(error)) (*net.UnixConn, error) {
	for pause := minAcceptPause; ; pause = min(2*pause, maxAcceptPause) {
		c, err := accept()
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, net.ErrClosed):
			return nil, net.ErrClosed
		case isNoListener(err):
			return nil, err
		case pause == minAcceptPause && failed != nil:
			failed(err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-closed:
			t.Stop()
			return nil, net.ErrClosed
		}
	}
}

// isNoListener tells an accept(2) error that comes back however often it is tried.
func isNoListener(err error) bool {
	for _, errno := range []error{unix.EBADF, unix.EINVAL, unix.ENOTSOCK, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// AcceptPending takes one connection that is already in the backlog, without
// waiting; false if there is none, or no descriptor to take it with. At stop it
// empties the backlog, so that whoever was queued gets an answer and not a reset.
func (l *Listener) AcceptPending() (*net.UnixConn, bool) {
	rc, err := l.l.SyscallConn()
	if err != nil {
		return nil, false
	}
	nfd := -1
	err = control(rc, func(fd int) (err error) {
		nfd, err = acceptNow(fd)
		return err
	})
	if err != nil {
		return nil, false
	}
	f := os.NewFile(uintptr(nfd), "")
	defer f.Close() // FileConn makes a duplicate
	c, err := net.FileConn(f)
	if err != nil {
		return nil, false
	}
	return c.(*net.UnixConn), true
}
