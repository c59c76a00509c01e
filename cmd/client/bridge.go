package client

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// bridgeBuffer is what a direction of a bridge reads at most.
const bridgeBuffer = 128 << 10

// bridge joins two descriptors of the process, as a rule stdin and stdout, to a connected stream socket, until the peer has
// said all it had to say. The end of in is passed on as the end of that direction alone (shutdown(2)); in that cannot be read is
// at its end. heard may be nil; it is called once, when the first byte has come from the socket, before that is written.
//
// The error is nil when the socket is at its end, whatever in does; it wraps unix.EPIPE when nobody reads out any more, which is
// found out by writing, and is ctx.Err() when ctx has ended: then the socket is shut down both ways, and what was under way is lost.
//
// The socket must not be anybody else's; bridge changes its mode to blocking, and closes nothing. The mode of in and out belongs
// to all who have them open, so it is left as it is. Call bridge once, and let the process end soon after: a goroutine that waits
// for in, or for who reads out, cannot be woken and is left, with the descriptors in its hands.
//
// The descriptors are read and written with calls that block: the runtime's poller would be one more thing to wait for in every
// round trip. BenchmarkBridgeRoundTrip.
func bridge(ctx context.Context, sock int, in, out int, heard func()) error {
	if err := unix.SetNonblock(sock, false); err != nil {
		return fmt.Errorf("prepare the connection: %w", err)
	}
	b := &bridged{sock: sock, in: in, out: out, heard: heard}
	done := make(chan error, 1)
	go b.up()
	go func() { done <- b.down() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		_ = unix.Shutdown(sock, unix.SHUT_RDWR)
		return ctx.Err()
	}
}

// bridged is what a bridge joins.
type bridged struct {
	sock, in, out int
	heard         func()

	sending sync.Mutex // held while something is written to the socket
	lost    error      // why that failed
}

// up passes in on to the socket until either is at its end.
func (b *bridged) up() {
	buf := make([]byte, bridgeBuffer)
	for {
		n, err := readSome(b.in, buf)
		if err != nil || n == 0 {
			_ = unix.Shutdown(b.sock, unix.SHUT_WR)
			return
		}
		if b.send(buf[:n]) != nil {
			return // what the peer said before it left is still to be read
		}
	}
}

func (b *bridged) send(p []byte) error {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.lost = writeAll(b.sock, p)
	return b.lost
}

// down passes the socket on to out until it is at its end.
func (b *bridged) down() error {
	buf := make([]byte, bridgeBuffer)
	for {
		n, err := readSome(b.sock, buf)
		if err != nil {
			return fmt.Errorf("read from the connection: %w", err)
		}
		if n == 0 {
			return b.wasReset()
		}
		if b.heard != nil {
			b.heard()
			b.heard = nil
		}
		if err := writeAll(b.out, buf[:n]); err != nil {
			return fmt.Errorf("write what the connection said: %w", err)
		}
	}
}

// wasReset is for when the socket is at its end. The kernel tells of a reset once, to whoever asks first, and shows an end to the other:
// so the error may be with up. A write that has not come back yet does so with the shutdown.
func (b *bridged) wasReset() error {
	_ = unix.Shutdown(b.sock, unix.SHUT_RDWR)
	b.sending.Lock()
	defer b.sending.Unlock()
	if b.lost == unix.ECONNRESET {
		return fmt.Errorf("write to the connection: %w", b.lost)
	}
	return nil // EPIPE says only that the peer had left before it was told more
}

// readSome is read(2), which waits even if fd does not. 0 is the end.
func readSome(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err == nil {
			return n, nil
		}
		if err := again(fd, err, unix.POLLIN); err != nil {
			return 0, err
		}
	}
}

// writeAll writes all of p, and waits even if fd does not.
func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == nil {
			p = p[n:]
		} else if err := again(fd, err, unix.POLLOUT); err != nil {
			return err
		}
	}
	return nil
}

// again returns nil when a call that failed with err is to be made again, and when there is a point in that.
func again(fd int, err error, events int16) error {
	if err == unix.EAGAIN {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, -1)
	}
	if err == unix.EINTR {
		return nil
	}
	return err
}
