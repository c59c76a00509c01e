package sockets

import (
	"bytes"
	"cmp"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Own lists where some processes listen, those of each in the order of its descriptors, which is that in which a server makes them, as a
// rule: TCP addresses, and the paths of Unix sockets that have one.
func Own(pids []int) ([]Place, error) {
	open, owners := map[uint64]int{}, map[uint32]bool{uint32(os.Geteuid()): true}
	for _, pid := range pids {
		socketsOf(pid, open)
		addOwner(pid, owners)
	}
	if len(open) == 0 {
		return nil, nil
	}
	var found []numbered
	tcp, err := listening()
	if err != nil {
		return nil, err
	}
	for _, l := range tcp {
		if _, is := open[l.Inode]; is {
			found = append(found, numbered{Place{Network: "tcp", Addr: reachable(l.Addr).String()}, l.Inode})
		}
	}
	paths, err := unixListening()
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if _, is := open[p.inode]; is && isSocketOf(p.Addr, owners) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b numbered) int { return cmp.Compare(open[a.inode], open[b.inode]) })
	places := make([]Place, len(found))
	for i, f := range found {
		places[i] = f.Place
	}
	return places, nil
}

// addOwner adds whose process it is.
func addOwner(pid int, owners map[uint32]bool) {
	var st unix.Stat_t
	if unix.Stat(filepath.Join("/proc", strconv.Itoa(pid)), &st) == nil {
		owners[st.Uid] = true
	}
}

// isSocketOf reports whether one of the owners has a socket there. The kernel writes paths into its list as they are, so whoever
// binds one with a newline in it writes a whole line of his own, with any inode (TestForgedLineLeadsNobodyAway).
func isSocketOf(path string, owners map[uint32]bool) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK && owners[st.Uid]
}

// numbered is a place with its socket's inode, whose number says nothing of its age: each CPU has its own.
type numbered struct {
	Place
	inode uint64
}

// reachable is an address to connect to, for a socket that is bound to one: the loopback's, where that is every one.
func reachable(bound netip.AddrPort) netip.AddrPort {
	switch bound.Addr() {
	case netip.IPv4Unspecified(), netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), bound.Port())
	}
	return bound
}

// socketsOf adds the inodes of the sockets that a process has open, and gives each its rank.
func socketsOf(pid int, open map[uint64]int) {
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		return // it is gone
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }) // as numbers
	buf := make([]byte, 64)
	for _, name := range names {
		n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
		if err != nil {
			continue
		}
		if text, ok := strings.CutPrefix(string(buf[:n]), "socket:["); ok {
			inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
			if _, had := open[inode]; err == nil && !had {
				open[inode] = len(open)
			}
		}
	}
}

// acceptsConnections is SO_ACCEPTCON in the flags of /proc/net/unix, unix(7).
const acceptsConnections = 1 << 16

// unixListening reads /proc/net/unix, as far as there are absolute paths.
func unixListening() ([]numbered, error) {
	text, err := os.ReadFile("/proc/self/net/unix")
	if err != nil {
		return nil, err
	}
	return parseUnixTable(text), nil
}

func parseUnixTable(text []byte) (all []numbered) {
	for line := range bytes.Lines(text) {
		// Num RefCount Protocol Flags Type St Inode Path
		f := strings.SplitN(strings.TrimSpace(strings.Join(strings.Fields(string(line)), " ")), " ", 8)
		if len(f) < 8 || !strings.HasPrefix(f[7], "/") {
			continue
		}
		flags, _ := strconv.ParseUint(f[3], 16, 32)
		inode, err := strconv.ParseUint(f[6], 10, 64)
		if err == nil && flags&acceptsConnections != 0 {
			all = append(all, numbered{Place{Network: "unix", Addr: f[7]}, inode})
		}
	}
	return all
}
