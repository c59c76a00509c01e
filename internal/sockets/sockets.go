// Package sockets tells which process listens on a TCP address. It looks at what the kernel shows to everybody,
// and at the descriptors of those processes that the caller may look at.
//
// It never connects to anything, and never closes what is not its own.
package sockets

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// Listener is a listening TCP socket.
type Listener struct {
	Addr  netip.AddrPort
	Inode uint64 // what /proc/PID/fd calls it
	UID   int    // of whoever made it
}

// Place is where somebody listens.
type Place struct {
	Network string // "tcp" or "unix"
	Addr    string // host:port, or a path
}

// Holder is a process that has a socket open.
type Holder struct {
	Pid     int
	Command string
}

// String is "node (pid 812)".
func (h Holder) String() string { return fmt.Sprintf("%s (pid %d)", h.Command, h.Pid) }

// Listeners lists the sockets that would answer a connection to an address: host:port, where host is an IP address,
// a name from hosts(5) such as localhost, or empty for every address. A name is looked up. The error wraps
// errors.ErrUnsupported where the system does not tell (darwin).
func Listeners(address string) ([]Listener, error) {
	ips, port, err := parse(address)
	if err != nil {
		return nil, err
	}
	all, err := listening()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(l Listener) bool { return l.Addr.Port() != port || !answers(l.Addr.Addr(), ips) }), nil
}

// FreePort is a port of the loopback address that nobody has now, and that the kernel gives to nobody for a while.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// parse gives the addresses that are meant; none means every one.
func parse(address string) ([]netip.Addr, uint16, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("port %q: not a number up to 65535", portText)
	}
	if host == "" {
		return nil, uint16(port), nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() {
			return nil, uint16(port), nil
		}
		return []netip.Addr{ip.Unmap().WithZone("")}, uint16(port), nil
	}
	names, err := net.LookupIP(host)
	if err != nil {
		return nil, 0, err
	}
	var ips []netip.Addr
	for _, name := range names {
		if ip, ok := netip.AddrFromSlice(name); ok {
			ips = append(ips, ip.Unmap())
		}
	}
	return ips, uint16(port), nil
}

// answers reports whether a socket bound to an address answers on one of the others. One bound to [::] answers on
// IPv4 too, unless it was told not to (ipv6(7), IPV6_V6ONLY), which is not shown.
func answers(bound netip.Addr, ips []netip.Addr) bool {
	bound = bound.Unmap()
	if len(ips) == 0 {
		return true
	}
	for _, ip := range ips {
		if bound == ip || bound == netip.IPv6Unspecified() || bound == netip.IPv4Unspecified() && ip.Is4() {
			return true
		}
	}
	return false
}
