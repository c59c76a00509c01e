package sdnotify

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// maxPath is what sun_path holds, less its NUL.
const maxPath = 103

func listenAbstract(path string) (*Socket, error) {
	return nil, fmt.Errorf("make notification socket %s: the path is longer than %d bytes", path, maxPath)
}

func reachable(path string) (string, func(), error) { return path, func() {}, nil }

// passCredentials: darwin does not tell the sender of a datagram; the directory lets nobody else in.
func passCredentials(*net.UnixConn) error { return nil }

// takeControl closes every descriptor that came with a message.
func takeControl(oob []byte) bool {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}
	}
	return true
}
