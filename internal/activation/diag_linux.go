package activation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/sockets"
)

// The kernel's side of sock_diag(7), which x/sys/unix does not name all of.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY

	udiagShowName  = 1 << 0
	udiagShowVFS   = 1 << 1
	udiagShowIcons = 1 << 3
	unixDiagVFS    = 1
	unixDiagIcons  = 3

	tcpEstablished = 1
	tcpTimeWait    = 6
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpListen      = 10
	allStates      = 0xfff

	inetDiagReqBytecode = 1
	bytecodeSportGE     = 2 // INET_DIAG_BC_S_GE
	bytecodeSportLE     = 3 // INET_DIAG_BC_S_LE
)

var native = binary.NativeEndian

// dump sends a request and calls each for every answer.
func dump(request []byte, each func(payload []byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	native.PutUint32(msg[0:], uint32(unix.NLMSG_HDRLEN+len(request)))
	native.PutUint16(msg[4:], sockDiagByFamily)
	native.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(fd, append(msg, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		done, err := messages(buf[:n], each)
		if done || err != nil {
			return err
		}
	}
}

var errShort = errors.New("a short answer of netlink(7)")

// messages takes one datagram apart. done: the last one.
func messages(b []byte, each func(payload []byte)) (done bool, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		size, kind := int(native.Uint32(b)), native.Uint16(b[4:])
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return false, errShort
		}
		payload := b[unix.NLMSG_HDRLEN:size]
		switch kind {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(payload) < 4 {
				return false, errShort
			}
			if errno := -int32(native.Uint32(payload)); errno != 0 {
				return false, os.NewSyscallError("sock_diag", unix.Errno(errno))
			}
			return true, nil
		case sockDiagByFamily:
			each(payload)
		}
		b = b[min(len(b), align(size)):]
	}
	return false, nil
}

func align(n int) int { return (n + 3) &^ 3 }

// attributes calls each for every attribute, rtnetlink(7).
func attributes(b []byte, each func(kind uint16, data []byte)) {
	for len(b) >= 4 {
		size, kind := int(native.Uint16(b)), native.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return
		}
		each(kind&0x3fff, b[4:size])
		b = b[min(len(b), align(size)):]
	}
}

// connections looks at all sockets of the machine's network namespace; the kernel picks those of the port.
func (s *Socket) connections() (all connections, err error) {
	all.waiting = Queue{}
	if s.network == "unix" {
		return s.unixConnections()
	}
	var sa unix.Sockaddr
	err = s.with(func(fd int) (err error) {
		sa, err = unix.Getsockname(fd)
		return os.NewSyscallError("getsockname", err)
	})
	if err != nil {
		return all, err
	}
	bound := tcpAddr(sa)
	if bound == nil {
		return all, fmt.Errorf("socket of type %T", sa)
	}
	local, _ := netip.AddrFromSlice(bound.IP)
	family := byte(unix.AF_INET)
	if _, six := sa.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	err = dump(inetRequest(family, uint16(bound.Port)), func(b []byte) { all.addInet(b, local, uint16(bound.Port)) })
	return all, err
}

// inetRequest is struct inet_diag_req_v2, and a program that lets the local port through.
func inetRequest(family byte, port uint16) []byte {
	b := make([]byte, 56)
	b[0], b[1] = family, unix.IPPROTO_TCP
	native.PutUint32(b[4:], allStates&^(1<<tcpListen|1<<tcpTimeWait|1<<tcpClose))
	const end = 4 * 4 // of the program; a jump past it refuses
	program := make([]byte, 0, end)
	for i, op := range []byte{bytecodeSportGE, bytecodeSportLE} {
		// struct inet_diag_bc_op, yes and no, and another one whose no is the port.
		program = append(program, op, 8)
		program = native.AppendUint16(program, uint16(end-8*i+4))
		program = append(program, 0, 0)
		program = native.AppendUint16(program, port)
	}
	b = native.AppendUint16(b, uint16(4+len(program)))
	b = native.AppendUint16(b, inetDiagReqBytecode)
	return append(b, program...)
}

// addInet reads struct inet_diag_msg.
func (c *connections) addInet(b []byte, local netip.Addr, port uint16) {
	if len(b) < 72 {
		return
	}
	state := b[1]
	if binary.BigEndian.Uint16(b[4:]) != port || state == tcpListen || state == tcpTimeWait || state == tcpClose {
		return
	}
	src, _ := netip.AddrFromSlice(b[8:24])
	if b[0] == unix.AF_INET {
		src, _ = netip.AddrFromSlice(b[8:12])
	}
	if !local.IsUnspecified() && src.Unmap() != local.Unmap() {
		return
	}
	switch inode := native.Uint32(b[68:]); {
	case inode != 0:
		c.accepted++
	case state == tcpEstablished || state == tcpCloseWait:
		c.waiting[string(b[6:8])+string(b[24:52])] = struct{}{} // remote port and address, interface, cookie
	}
}

// unixRequest is struct unix_diag_req.
func unixRequest() []byte {
	b := make([]byte, 24)
	b[0] = unix.AF_UNIX
	native.PutUint32(b[4:], 1<<tcpEstablished|1<<tcpListen)
	native.PutUint32(b[12:], udiagShowVFS|udiagShowIcons)
	return b
}

// unixRow is what matters of struct unix_diag_msg and its attributes.
type unixRow struct {
	state byte
	inode uint32
	vfs   string // inode and device of the file that it is bound to; "" for none
	icons []byte // inodes of the connections that wait, 4 bytes each
}

func parseUnix(b []byte) (r unixRow, ok bool) {
	if len(b) < 16 {
		return r, false
	}
	r.state, r.inode = b[2], native.Uint32(b[4:])
	attributes(b[16:], func(kind uint16, data []byte) {
		switch {
		case kind == unixDiagVFS && len(data) >= 8:
			r.vfs = string(data[:8])
		case kind == unixDiagIcons:
			r.icons = slices.Clone(data)
		}
	})
	return r, true
}

func unixRows() (rows []unixRow, err error) {
	err = dump(unixRequest(), func(b []byte) {
		if r, ok := parseUnix(b); ok && r.vfs != "" {
			rows = append(rows, r)
		}
	})
	return rows, err
}

// unixConnections finds the socket by its own inode, and those that were accepted from it by the file that they have from it: by the
// file, since the name in the list is that which it was bound under, before it was renamed.
func (s *Socket) unixConnections() (all connections, err error) {
	all.waiting = Queue{}
	var st unix.Stat_t
	if err := s.with(func(fd int) error { return os.NewSyscallError("fstat", unix.Fstat(fd, &st)) }); err != nil {
		return all, err
	}
	rows, err := unixRows()
	if err != nil {
		return all, err
	}
	i := slices.IndexFunc(rows, func(r unixRow) bool { return r.state == tcpListen && uint64(r.inode) == st.Ino })
	if i < 0 {
		return all, errors.New("the kernel does not list it")
	}
	for icons := rows[i].icons; len(icons) >= 4; icons = icons[4:] {
		all.waiting[string(icons[:4])] = struct{}{}
	}
	for _, r := range rows {
		if r.state == tcpEstablished && r.inode != 0 && r.vfs == rows[i].vfs {
			all.accepted++
		}
	}
	return all, nil
}

// whoListens finds the sockets that listen at the path of a file.
func whoListens(path string) (all []sockets.Listener) {
	id := idOf(path)
	rows, err := unixRows()
	if err != nil || id == (fileID{}) {
		return nil
	}
	for _, r := range rows {
		if r.state == tcpListen && native.Uint32([]byte(r.vfs)) == uint32(id.ino) {
			all = append(all, sockets.Listener{Inode: uint64(r.inode)})
		}
	}
	return all
}
