package service

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Address is where to listen or to connect.
type Address struct {
	Network string `json:"network"` // "tcp", "unix" or ""
	Addr    string `json:"addr"`    // host:port, or an absolute path
}

// String is the address as hob.toml has it; "" for none.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Addr
	}
	return a.Addr
}

// LeadsTo reports whether a connection to a may come to who listens on other, as far as the two say without a look
// into hosts(5).
func (a Address) LeadsTo(other Address) bool {
	if a.Network != "tcp" || other.Network != "tcp" {
		return a == other
	}
	host, port, err := net.SplitHostPort(a.Addr)
	otherHost, otherPort, otherErr := net.SplitHostPort(other.Addr)
	if err != nil || otherErr != nil || port != otherPort {
		return false
	}
	if strings.EqualFold(host, otherHost) {
		return true
	}
	listening := net.ParseIP(otherHost)
	for _, ip := range onThisHost(host) {
		// [::] takes what comes for IPv4, too, ipv6(7).
		every := listening.IsUnspecified() && (listening.To4() == nil || ip.To4() != nil)
		if every || slices.ContainsFunc(onThisHost(otherHost), ip.Equal) {
			return true
		}
	}
	return false
}

// onThisHost gives the addresses of a host that is this one by its name or number. To connect to 0.0.0.0 or [::] is to connect to
// the loopback address, ip(7).
func onThisHost(host string) []net.IP {
	switch ip := net.ParseIP(host); {
	case strings.EqualFold(host, "localhost"):
		return []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	case ip.IsUnspecified() && ip.To4() != nil:
		return []net.IP{net.IPv4(127, 0, 0, 1)}
	case ip.IsUnspecified():
		return []net.IP{net.IPv6loopback}
	case ip.IsLoopback():
		return []net.IP{ip}
	}
	return nil
}

// Listen is a socket that hobd holds for a service. The zero value is none.
type Listen struct {
	Address
	Proxy bool    `json:"proxy,omitempty"` // hobd accepts and forwards, for a service that can't take a socket
	To    Address `json:"to,omitzero"`     // where a proxy forwards to; zero: to where it is ready, else to a free port
}

// Held reports whether there is such a socket.
func (l Listen) Held() bool { return l.Network != "" }

// maxUnixPath is what every system's struct sockaddr_un has room for, with the NUL at its end: 104 bytes on
// macOS, 108 on Linux, unix(7). A longer one could be bound, by a detour, but no program could connect to it.
const maxUnixPath = 103

// ParseAddress reads "host:port" or "unix:PATH"; a relative PATH is one below dir.
func ParseAddress(text, dir string) (Address, error) {
	a := Address{Network: "tcp", Addr: text}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path != "" && !filepath.IsAbs(path) {
			path = dir + "/" + path // not joined, which would resolve ".."
		}
		a = Address{Network: "unix", Addr: path}
	}
	err := a.Check()
	if a.Network == "unix" && err == nil {
		a.Addr = filepath.Clean(a.Addr)
	}
	return a, err
}

// Check says why nobody could listen on or connect to a, or nil.
func (a Address) Check() error {
	var err error
	switch {
	case strings.IndexFunc(a.Addr, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
		err = errors.New("a control character in it")
	case a.Network == "unix":
		err = checkPath(a.Addr)
	case a.Network == "tcp":
		err = checkHostPort(a.Addr)
	default:
		err = fmt.Errorf("network %q: not tcp or unix", a.Network)
	}
	if err != nil {
		return fmt.Errorf("address %q: %w", short(a.String()), err)
	}
	return nil
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("no path after \"unix:\"")
	case !filepath.IsAbs(path):
		return errors.New("the path is not absolute")
	case strings.Contains("/"+path+"/", "/../"):
		return errors.New("\"..\" in the path")
	case len(path) > maxUnixPath:
		return fmt.Errorf("the path has %d bytes, and a socket's can have %d", len(path), maxUnixPath)
	}
	return nil
}

func checkHostPort(text string) error {
	host, port, err := net.SplitHostPort(text)
	switch {
	case err != nil || host == "":
		return errors.New("not host:port like 127.0.0.1:8080, or unix:PATH")
	case len(host) > 253 || strings.ContainsAny(host, "/ ?#@"):
		return errors.New("not the name of a host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the port is not a number from 1 to 65535")
	}
	return nil
}

// short is for showing what somebody else has written.
func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Addr is where clients reach the service: as its Spec says, else where its run was found to listen.
func (s Status) Addr() Address {
	if a := s.Spec.Addr(); a.Network != "" || s.State == Stopped {
		return a
	}
	return s.Backend
}

// Addr is where clients reach the service: the socket that is held for it, else where it is ready; the zero
// Address when it has said neither.
func (s Spec) Addr() Address {
	switch {
	case s.Listen.Held():
		return s.Listen.Address
	case s.Ready.TCP != "":
		return Address{Network: "tcp", Addr: s.Ready.TCP}
	case s.Ready.HTTP != "":
		if u, err := url.Parse(s.Ready.HTTP); err == nil {
			return Address{Network: "tcp", Addr: hostPort(u)}
		}
	}
	return Address{}
}

// hostPort adds the port that a URL leaves out.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), "80")
}
