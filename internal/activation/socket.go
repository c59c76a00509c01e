// Package activation is the manager's side of sd_listen_fds(3): listening sockets that are bound for a service, held
// while the service comes and goes, and handed over to it as descriptor 3. It tells when a connection waits, how many
// there are, and whether those that waited were accepted.
//
// The socket is one open file for everybody who has it. It is made by raw system calls, since a net.Listener would make it
// non-blocking for the service, too, or blocking for us (File clears O_NONBLOCK).
//
// It accepts only for those who ask for it, a proxy, and never starts anything.
package activation

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/sockets"
)

// backlog is how many connections wait at most: the kernel's default for somaxconn, listen(2).
const backlog = 4096

// ErrNone says that no connection waits.
var ErrNone = errors.New("no connection waits")

// Socket is a listening socket that is held for a service. Its methods may be called by several goroutines.
type Socket struct {
	network, addr string
	file          fileID // of the path of a Unix socket

	mu sync.Mutex // guards fd
	fd int        // -1: closed
}

// fileID names a file, whatever its path.
type fileID struct{ dev, ino uint64 }

// Listen binds a socket and listens on it: network is "tcp" with host:port, or "unix" with an absolute path. A name of a host
// is looked up; [::] answers for IPv4, too. A Unix socket is made under another name, with mode 0600, and renamed
// once it listens; directories that are missing are made, with mode 0700. One that nobody listens on any more is replaced;
// anything else at its path is left alone. The error is a *sockets.TakenError when somebody has the address. The caller closes the socket.
func Listen(network, addr string) (*Socket, error) {
	switch network {
	case "tcp":
		return listenTCP(addr)
	case "unix":
		return listenUnix(addr)
	}
	return nil, fmt.Errorf("listen on %q: network %q: not tcp or unix", addr, network)
}

// FromFile takes over a socket that an earlier daemon bound, by a duplicate: f stays the caller's. One that does not
// listen, or not at that address, is an error.
func FromFile(f *os.File, network, addr string) (*Socket, error) {
	s := &Socket{network: network, addr: addr, fd: -1}
	err := control(f, func(fd int) (err error) {
		if s.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		return s.verify()
	})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("take over the socket %s: %w", addr, err)
	}
	return s, nil
}

// control calls do with the descriptor of f, which stays open meanwhile.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if conn.Control(func(fd uintptr) { inner = do(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return inner
}

// verify holds the socket against its address.
func (s *Socket) verify() error {
	if n, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || n == 0 {
		return errors.Join(errors.New("it does not listen"), err)
	}
	if s.network == "unix" {
		return s.identify()
	}
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	want, err := resolve(s.addr)
	if err != nil {
		return err
	}
	if have := tcpAddr(sa); have == nil || have.Port != want.Port || !have.IP.Equal(want.IP) {
		return fmt.Errorf("it is bound to %v", have)
	}
	return nil
}

// Network is "tcp" or "unix".
func (s *Socket) Network() string { return s.network }

// Addr is what Listen was given.
func (s *Socket) Addr() string { return s.addr }

// with calls f with the descriptor, which stays open meanwhile.
func (s *Socket) with(f func(fd int) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return os.ErrClosed
	}
	return f(s.fd)
}

// File gives a duplicate, for a process to inherit. It blocks, as the socket does for everybody from then on, whatever
// the last service has made of it: so only for one that is about to start. The caller closes it.
func (s *Socket) File() (*os.File, error) {
	err := s.with(func(fd int) error { return unix.SetNonblock(fd, false) })
	if err != nil {
		return nil, fmt.Errorf("make the socket %s block: %w", s.addr, err)
	}
	return s.Duplicate()
}

// Duplicate gives another descriptor of the socket as it is: a service that runs may have made it non-blocking, which is one
// for all. The caller closes it, and does not call Fd, which would make it block.
func (s *Socket) Duplicate() (f *os.File, err error) {
	err = s.with(func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		f = os.NewFile(uintptr(dup), s.addr)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("duplicate the socket %s: %w", s.addr, err)
	}
	return f, nil
}

// Accept takes a connection that waits, and does not wait for one: then the error is ErrNone. It is for a socket that is
// handed to nobody: what somebody else accepts between a look and accept(2) would make it block. Without descriptors the connection
// goes on waiting, and the error is EMFILE or ENFILE. The caller closes the connection.
func (s *Socket) Accept() (conn net.Conn, err error) {
	err = s.with(func(fd int) error {
		if !readable(fd) {
			return ErrNone
		}
		// A net.Conn takes another descriptor: one is kept free for it, because what was accepted can't be given back.
		spare, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		nfd, err := accept(fd)
		unix.Close(spare)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(nfd), s.addr)
		defer f.Close()
		conn, err = net.FileConn(f)
		return err
	})
	if err != nil && !errors.Is(err, ErrNone) {
		err = fmt.Errorf("accept on %s: %w", s.addr, err)
	}
	return conn, err
}

// Waits reports that a connection waits. It is false for a socket that was let go of.
func (s *Socket) Waits() (waits bool) {
	_ = s.with(func(fd int) error {
		waits = readable(fd)
		return nil
	})
	return waits
}

func readable(fd int) bool {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(set, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// Release ends the socket for everybody who has it, so that its address is free: shutdown(2) of a listening TCP socket ends
// the listening, and the path of a Unix socket is removed, if it still is this one.
func (s *Socket) Release() {
	_ = s.with(func(fd int) error {
		if s.network == "unix" && s.file == idOf(s.addr) {
			_ = os.Remove(s.addr)
		}
		return unix.Shutdown(fd, unix.SHUT_RDWR)
	})
	s.Close()
}

// Close lets go of the socket, which goes on for those who have a duplicate. It may be called again.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

// Environ tells a process of its socket, but for LISTEN_PID, which only itself can know.
func Environ(name string) []string { return []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=" + name} }

// taken names who has the address.
func taken(network, addr string, listeners []sockets.Listener) error {
	e := &sockets.TakenError{Addr: addr}
	if network == "unix" {
		e.Addr = "unix:" + addr
	}
	if holders := sockets.Holders(listeners); len(holders) > 0 {
		e.Holder = holders[0]
	}
	return e
}
