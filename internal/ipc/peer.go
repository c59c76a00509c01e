package ipc

import (
	"fmt"
	"net"
)

// Creds say who is at the other end of a Unix socket.
//
// Pid and Uid are those of the process that called connect(2), or, seen from
// the client, of the one that called listen(2) last: a listener that was
// inherited names its first owner. Pid is 0 for a peer in a pid namespace that
// this process cannot see. A pid is a hint; only Uid decides anything.
type Creds struct {
	Pid int
	Uid int
}

// nobody is the Creds of a connection that has none. Never the zero value:
// that would be root.
var nobody = Creds{Uid: -1}

// PeerCreds asks the kernel (SO_PEERCRED in unix(7), LOCAL_PEERCRED in unix(4)).
func PeerCreds(c *net.UnixConn) (Creds, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return nobody, fmt.Errorf("read peer credentials: %w", err)
	}
	creds, inner := nobody, error(nil)
	if err := rc.Control(func(fd uintptr) { creds, inner = peerCreds(int(fd)) }); err != nil {
		return nobody, fmt.Errorf("read peer credentials: %w", err)
	}
	if inner != nil {
		return nobody, fmt.Errorf("read peer credentials: %w", inner)
	}
	return creds, nil
}
