package readiness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"

	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/sockets"
)

// Taken looks, before a start, whether somebody listens already where r expects the service to: then the error is a
// *sockets.TakenError. It is nil when r is about no port, or where the system does not tell.
func Taken(r service.Readiness) error {
	address := r.TCP
	if r.HTTP != "" {
		u, err := url.Parse(r.HTTP)
		if err != nil {
			return nil // Wait will say so
		}
		address = hostPort(u)
	}
	if address == "" {
		return nil
	}
	listeners, err := sockets.Listeners(address)
	if err != nil || len(listeners) == 0 {
		return nil
	}
	e := &sockets.TakenError{Addr: address}
	holders := sockets.Holders(listeners)
	if slices.ContainsFunc(holders, func(h sockets.Holder) bool { return h.Pid == os.Getpid() }) {
		return nil // the one that is held for the service
	}
	if len(holders) > 0 {
		e.Holder = holders[0]
	}
	return e
}

// owned passes err on, and without one makes sure that it is the target who answered. A socket whose owner can't be
// seen is believed: nobody had the port before the start, so it came with the service; that of a container
// is root's, for one.
func (w *waiter) owned(address string, err error) error {
	if err != nil {
		return err
	}
	listeners, err := sockets.Listeners(address)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look who listens on %s: %w", address, err)
	}
	holders := sockets.Holders(listeners)
	if len(holders) == 0 {
		if len(listeners) > 0 {
			w.status("answered by a process that can't be seen")
		}
		return nil
	}
	tree, err := w.t.Tree()
	if err != nil {
		return fmt.Errorf("look for its processes: %w", err)
	}
	for _, h := range holders {
		if slices.Contains(tree, h.Pid) {
			return nil
		}
	}
	return &sockets.TakenError{Addr: address, Holder: holders[0]}
}

// dialTCP connects and hangs up.
func dialTCP(ctx context.Context, address string) error {
	conn, err := connect(ctx, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// connect connects to somebody else than itself: a connection to a port of the ephemeral range on which nobody listens may
// be given that very port, and then both ends are one (TCP simultaneous open, RFC 9293, 3.5).
func connect(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s does not accept connections%s", address, because(err))
	}
	if conn.LocalAddr().String() == conn.RemoteAddr().String() {
		conn.Close()
		return nil, fmt.Errorf("%s does not accept connections", address)
	}
	return conn, nil
}

// because adds the reason, but for the one that is to be expected.
func because(err error) string {
	var sys *os.SyscallError
	if errors.As(err, &sys) && sys.Err.Error() == "connection refused" {
		return ""
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return ": " + dns.Error()
	}
	if sys != nil {
		return ": " + sys.Err.Error()
	}
	return ""
}
