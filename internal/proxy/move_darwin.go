package proxy

import (
	"io"

	"golang.org/x/sys/unix"
)

// move passes on what src says, up to its end, and returns nil then.
func move(dst, src stream) error {
	_, err := io.Copy(dst, src)
	return err
}

// watch waits until src, which has said all it had to say, is reset by its peer: gone. It returns when src is closed
// here, too. That a peer is gone altogether is not told from half-close before something is written.
func watch(src stream) (reset, gone bool) {
	raw, err := src.SyscallConn()
	if err != nil {
		return false, false
	}
	_ = raw.Read(func(fd uintptr) bool {
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		gone = err == nil && errno != 0
		return gone
	})
	return gone, gone
}
