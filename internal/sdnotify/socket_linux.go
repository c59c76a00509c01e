package sdnotify

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxPath is what sun_path holds, less its NUL: some clients want one (unix(7)).
const maxPath = 107

// abstractName is for paths that are too long.
func abstractName(path string) string {
	sum := sha256.Sum256([]byte(path))
	return "@hob-notify/" + hex.EncodeToString(sum[:16])
}

// listenAbstract is for paths that are too long.
func listenAbstract(path string) (*Socket, error) {
	s, err := bind(abstractName(path))
	if err == nil {
		s.addr = abstractName(path)
	}
	return s, err
}

// reachable gives a name for the path that fits into an address while release was not called.
func reachable(path string) (name string, release func(), err error) {
	if path[0] == '@' || len(path) <= maxPath {
		return path, func() {}, nil
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	name = "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
	return name, func() { dir.Close() }, nil
}

func passCredentials(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		return err
	}
	return inner
}

// takeControl closes every descriptor that came with a message, and reports whether its sender is this user or
// root. The kernel fills the sender in (SO_PASSCRED, unix(7)).
func takeControl(oob []byte) (ours bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			ours = cred.Uid == 0 || int(cred.Uid) == os.Geteuid()
		}
	}
	return ours
}
