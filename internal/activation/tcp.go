package activation

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/sockets"
)

func listenTCP(addr string) (*Socket, error) {
	s := &Socket{network: "tcp", addr: addr, fd: -1}
	to, err := resolve(addr)
	if err == nil {
		err = s.bindTCP(to)
	}
	if err == nil {
		return s, nil
	}
	s.Close()
	if errors.Is(err, unix.EADDRINUSE) {
		listeners, _ := sockets.Listeners(addr)
		return nil, taken("tcp", addr, listeners)
	}
	return nil, fmt.Errorf("listen on %s: %w", addr, err)
}

// resolve prefers IPv4, as Go does where a socket has to have one address.
func resolve(addr string) (*net.TCPAddr, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err == nil && a.IP == nil {
		err = errors.New("no host")
	}
	return a, err
}

func (s *Socket) bindTCP(to *net.TCPAddr) (err error) {
	family, sa := sockaddr(to)
	if s.fd, err = newSocket(family); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if family == unix.AF_INET6 {
		only := 1
		if to.IP.IsUnspecified() {
			only = 0
		}
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(s.fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(s.fd, backlog))
}

func sockaddr(a *net.TCPAddr) (family int, sa unix.Sockaddr) {
	if ip := a.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	six := &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
	if zone, err := net.InterfaceByName(a.Zone); err == nil {
		six.ZoneId = uint32(zone.Index)
	}
	return unix.AF_INET6, six
}

func tcpAddr(sa unix.Sockaddr) *net.TCPAddr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	}
	return nil
}
