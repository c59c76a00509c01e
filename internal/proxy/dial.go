package proxy

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// The pauses between two attempts to connect double from the first to the longest.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// errHalted is for a connection that is given away before it has reached the service.
var errHalted = errors.New("the connection is given away")

// persist dials until somebody listens or ctx has ended. The error is that of the last attempt; or errHalted, when halted was closed
// before there was another.
func persist(ctx context.Context, halted <-chan struct{}, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		select {
		case <-halted:
			return nil, errHalted
		default:
		}
		conn, err := dial(ctx)
		if err == nil || !notYet(err) {
			return conn, err
		}
		select {
		case <-time.After(pause):
		case <-halted:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// notYet reports whether nobody listens just now: the service has told that it is ready a moment too early, or is being
// replaced. A unix socket whose backlog is full says EAGAIN where TCP would wait: unix(7), connect(2).
func notYet(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EAGAIN)
}
