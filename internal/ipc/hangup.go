package ipc

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// watchHangup closes the connection as soon as the peer has closed its end,
// without reading. stop ends the watch. Only the read loop may call them, and
// may not read in between: the watch borrows its read deadline.
//
// It costs no wake-ups: the runtime's poller is edge-triggered, so a RawConn
// that declines to read is called again only for new bytes or a hang-up.
func (c *Conn) watchHangup() (stop func()) {
	sc, ok := c.s.nc.(syscall.Conn)
	if !ok {
		return func() {} // net.Pipe
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return func() {}
	}
	watched := make(chan struct{})
	_ = c.s.nc.SetReadDeadline(time.Time{})
	go func() {
		defer close(watched)
		if rc.Read(func(fd uintptr) bool { return hungUp(int(fd)) }) == nil {
			c.s.fail(unix.ECONNRESET)
			_ = c.Close()
		}
	}()
	return func() {
		_ = c.s.nc.SetReadDeadline(longAgo)
		<-watched
		_ = c.s.nc.SetReadDeadline(time.Time{})
	}
}

// HungUp reports that the peer has closed its end, which whoever reads may not have come to yet, or that ours is closed.
func (c *Conn) HungUp() bool {
	sc, ok := c.s.nc.(syscall.Conn)
	if !ok {
		return false // net.Pipe
	}
	rc, err := sc.SyscallConn()
	hung := true
	if err == nil {
		_ = rc.Control(func(fd uintptr) { hung = hungUp(int(fd)) })
	}
	return hung
}

// hungUp is not about a peer that only shut down its writing: it may still read.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
