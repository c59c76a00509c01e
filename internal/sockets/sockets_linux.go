package sockets

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// listening reads proc_net_tcp(5). A kernel without IPv6 has no tcp6.
func listening() ([]Listener, error) {
	all, err := table("/proc/self/net/tcp")
	if err != nil {
		return nil, err
	}
	six, err := table("/proc/self/net/tcp6")
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return append(all, six...), nil
}

// stateListen is TCP_LISTEN.
const stateListen = "0A"

func table(path string) ([]Listener, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all, err := parseTable(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return all, nil
}

func parseTable(text []byte) (all []Listener, err error) {
	for line := range bytes.Lines(text) {
		// sl local_address rem_address st tx:rx tr:tm->when retrnsmt uid timeout inode …
		f := strings.Fields(string(line))
		if len(f) < 10 || f[3] != stateListen {
			continue
		}
		addr, err := parseAddr(f[1])
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(f[7])
		inode, _ := strconv.ParseUint(f[9], 10, 64)
		all = append(all, Listener{Addr: addr, UID: uid, Inode: inode})
	}
	return all, nil
}

// parseAddr reads 0100007F:1F90: the address in words of the machine's byte order, the port in hex.
func parseAddr(s string) (netip.AddrPort, error) {
	host, portText, _ := strings.Cut(s, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q", s)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}

// Holders finds the processes that have one of the sockets open, the one that started first before the others: who
// has inherited a socket, or has a duplicate of it, is younger than its owner, whatever their pids. Those of other
// users are not seen unless the caller is root. It looks through /proc.
func Holders(sockets []Listener) []Holder {
	if len(sockets) == 0 {
		return nil
	}
	want := make(map[string]bool, len(sockets))
	for _, l := range sockets {
		want["socket:["+strconv.FormatUint(l.Inode, 10)+"]"] = true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []Holder
	start := map[int]uint64{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !has(pid, want) {
			continue
		}
		if info, err := process.Stat(pid); err == nil {
			start[pid] = info.Start
			found = append(found, Holder{Pid: pid, Command: command(pid)})
		}
	}
	slices.SortFunc(found, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(start[a.Pid], start[b.Pid]), a.Pid-b.Pid)
	})
	return found
}

// has reports whether the process has one of the files open.
func has(pid int, want map[string]bool) bool {
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		return false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false
	}
	buf := make([]byte, 64)
	for _, name := range names {
		n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
		if err == nil && want[string(buf[:n])] {
			return true
		}
	}
	return false
}

// command is the name of a process as ps(1) shows it.
func command(pid int) string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(text), "\n")
}
