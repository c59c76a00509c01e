package proxy

import (
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// buffers are for what the net package cannot splice: all that goes to a unix socket.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// move passes on what src says, up to its end, and returns nil then. What goes to TCP goes by splice(2).
//
// io.Copy alone would do, but it has a pipe of 1 MB for as long as it waits: with 32 idle connections a user's share of
// pipe buffers (fs.pipe-user-pages-soft, pipe(7)) would be used up, and every pipe made later, a service's FIFO too, be one of 8 KB.
// So waiting is done without, and copying is done with as much as there is. TestIdleConnectionHoldsNoPipe.
func move(dst, src stream) error {
	raw, err := src.SyscallConn()
	if err != nil {
		return err
	}
	var a arrival
	look := a.look
	for {
		if err := raw.Read(look); err != nil {
			return err
		}
		if a.err != nil || a.n == 0 {
			return a.err
		}
		if err := copyN(dst, src, int64(a.n)); err != nil {
			return err
		}
	}
}

func copyN(dst, src stream, n int64) error {
	if _, ok := dst.(*net.TCPConn); ok {
		_, err := io.Copy(dst, io.LimitReader(src, n))
		return err
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	_, err := io.CopyBuffer(dst, io.LimitReader(src, n), *b)
	return err
}

// arrival is what a socket has to be read: n bytes; none is the end.
type arrival struct {
	n    int
	err  error
	peek [1]byte
}

// look returns false while there is nothing.
func (a *arrival) look(fd uintptr) bool {
	// How many bytes there are does not tell the end from nothing yet.
	a.n, _, a.err = unix.Recvfrom(int(fd), a.peek[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case a.err == unix.EAGAIN:
		return false
	case a.err == unix.EINTR:
		return a.look(fd)
	case a.err != nil || a.n == 0:
		return true
	}
	if n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ); err == nil {
		a.n = max(n, 1)
	}
	return true
}

// watch waits until src, which has said all it had to say, is reset or closed altogether by its peer: gone. It returns when src is closed
// here, too.
func watch(src stream) (reset, gone bool) {
	raw, err := src.SyscallConn()
	if err != nil {
		return false, false
	}
	_, isUnix := src.(*net.UnixConn)
	_ = raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}} // POLLERR and POLLHUP need no asking for: poll(2)
		if _, err := unix.Poll(p, 0); err != nil {
			return false
		}
		reset = p[0].Revents&unix.POLLERR != 0
		// TCP hangs up as well when both sides have ended what they say, which is not for this direction to judge. For a unix socket that is
		// so, too, but then all bytes have been passed on.
		gone = reset || isUnix && p[0].Revents&unix.POLLHUP != 0
		return gone
	})
	return reset, gone
}
