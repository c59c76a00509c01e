package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// bridgeBuffer is for one direction.
const bridgeBuffer = 128 << 10

// bridge joins in and out to a connected socket, which it closes, until the socket has ended; the end of in is only half of it. heard is called
// at the first byte from the socket. When ctx ends, so does the socket, and the error is that of ctx. An out that nobody reads
// any more is unix.EPIPE.
//
// It reads and writes by blocking system calls, which take a third of the time that a round trip through the runtime's poller
// does. The socket is ours alone and made to block; the mode of in and out is others' business, too, so where they would
// block poll(2) waits.
func bridge(ctx context.Context, sock, in, out int, heard func()) error {
	defer unix.Close(sock)
	if err := unix.SetNonblock(sock, false); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	end := context.AfterFunc(ctx, func() { _ = unix.Shutdown(sock, unix.SHUT_RDWR) })
	defer end()
	// It may wait for in when the socket has ended; the process ends then, and it with it.
	go func() {
		if pour(sock, in, nil) == nil {
			_ = unix.Shutdown(sock, unix.SHUT_WR)
		}
	}()
	err := pour(out, sock, heard)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// pour copies until the end of from.
func pour(to, from int, heard func()) error {
	buf := make([]byte, bridgeBuffer)
	first := sync.OnceFunc(func() {
		if heard != nil {
			heard()
		}
	})
	for {
		n, err := unix.Read(from, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			await(from, unix.POLLIN)
			continue
		case err == unix.EBADF: // a stdin that is closed is one with nothing in it
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return nil
		}
		first()
		if err := writeAll(to, buf[:n]); err != nil {
			return err
		}
	}
}

func writeAll(to int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(to, b)
		switch {
		case err == unix.EAGAIN:
			await(to, unix.POLLOUT)
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("write: %w", err)
		case err == nil:
			b = b[n:]
		}
	}
	return nil
}

func await(fd int, events int16) {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, -1)
}
