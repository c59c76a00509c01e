// Package sdnotify is the manager's side of sd_notify(3): a datagram socket for one service, on which it says
// that it is ready and what it is doing. Each service has a socket of its own, so that the sender needs no
// looking up. Whatever comes is harmless, and what another user sends is dropped.
//
// It never keeps a descriptor that somebody sends, never answers, and knows nothing of what a message leads to.
package sdnotify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Socket receives the messages of one service.
type Socket struct {
	path string // "" for an abstract one
	addr string
	conn *net.UnixConn
	ino  uint64
}

// Listen makes the socket at an absolute path, in a directory that only its owner may enter, mode 0600. What
// an earlier Listen left there is replaced, and a service that got the same path from that one, because it
// outlived its manager, reaches this one: sd_notify(3) connects for each message. A path that is too long for a socket
// address (unix(7)) makes it an abstract socket, whose name follows from the path. The caller closes it.
func Listen(path string) (*Socket, error) {
	if len(path) > maxPath {
		return listenAbstract(path)
	}
	temp := fmt.Sprintf("%s/.%d.new-%s", filepath.Dir(path), os.Getpid(), filepath.Base(path))
	s, err := bind(temp)
	if err != nil {
		return nil, err
	}
	s.path, s.addr = path, path
	var st unix.Stat_t
	err = unix.Chmod(temp, 0o600)
	if err == nil {
		err = unix.Lstat(temp, &st)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = s.conn.Close()
		_ = os.Remove(temp)
		return nil, fmt.Errorf("make notification socket %s: %w", path, err)
	}
	s.ino = st.Ino
	return s, nil
}

// bind makes the socket and asks the kernel for the sender of each message.
func bind(name string) (*Socket, error) {
	name, release, err := reachable(name)
	if err != nil {
		return nil, err
	}
	defer release()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("make notification socket: %w", err)
	}
	if err := passCredentials(conn); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ask for the senders of notifications: %w", err)
	}
	return &Socket{conn: conn}, nil
}

// Addr is the value of NOTIFY_SOCKET for the service.
func (s *Socket) Addr() string { return s.addr }

// Next blocks until there is a message of this user, or of root, or ctx ends: then it returns the error of ctx. After Close it
// returns net.ErrClosed. It may not be called by two goroutines at once.
func (s *Socket) Next(ctx context.Context) (Message, error) {
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return Message{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf, oob := make([]byte, 64<<10), make([]byte, 4<<10)
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if ctx.Err() != nil {
			return Message{}, ctx.Err()
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Message{}, err
		}
		// Descriptors for the store, and the one of BARRIER=1, for which closing it is the answer.
		if ours := takeControl(oob[:oobn]); ours {
			return Parse(buf[:n]), nil
		}
	}
}

// Close ends the socket and removes its file, unless another one has taken its place.
func (s *Socket) Close() error {
	var st unix.Stat_t
	if s.path != "" && unix.Lstat(s.path, &st) == nil && st.Ino == s.ino {
		_ = os.Remove(s.path)
	}
	return s.conn.Close()
}
