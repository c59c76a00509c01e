//go:build linux

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kind is how it is found out what a call is about.
type kind int

const (
	bare      kind = iota // it is about nothing that has a name
	fdArg                 // the descriptor in the argument that is given
	pathArg               // the path in that argument; the directory is the one before it
	wholePath             // the same, without a directory
	addrArg               // the socket address in it, its length in the next
	fork                  // it makes a process, or else a thread, which is nobody's business
)

// watchedCall is a call in whose failure something can go wrong with the state.
type watchedCall struct {
	name string
	kind kind
	arg  int
}

var watchedCalls = map[int32]watchedCall{
	unix.SYS_OPENAT:            {"openat", pathArg, 1},
	unix.SYS_MKDIRAT:           {"mkdirat", pathArg, 1},
	unix.SYS_MKNODAT:           {"mknodat", pathArg, 1},
	unix.SYS_UNLINKAT:          {"unlinkat", pathArg, 1},
	unix.SYS_RENAMEAT:          {"renameat", pathArg, 3},
	unix.SYS_RENAMEAT2:         {"renameat2", pathArg, 3},
	unix.SYS_LINKAT:            {"linkat", pathArg, 3},
	unix.SYS_SYMLINKAT:         {"symlinkat", pathArg, 2},
	unix.SYS_FCHMODAT:          {"fchmodat", pathArg, 1},
	unix.SYS_NEWFSTATAT:        {"newfstatat", pathArg, 1},
	unix.SYS_INOTIFY_ADD_WATCH: {"inotify_add_watch", wholePath, 1},
	unix.SYS_EXECVE:            {"execve", wholePath, 0},
	unix.SYS_READ:              {"read", fdArg, 0},
	unix.SYS_PREAD64:           {"pread64", fdArg, 0},
	unix.SYS_WRITE:             {"write", fdArg, 0},
	unix.SYS_PWRITE64:          {"pwrite64", fdArg, 0},
	unix.SYS_SPLICE:            {"splice", fdArg, 2},
	unix.SYS_FTRUNCATE:         {"ftruncate", fdArg, 0},
	unix.SYS_FALLOCATE:         {"fallocate", fdArg, 0},
	unix.SYS_FLOCK:             {"flock", fdArg, 0},
	unix.SYS_FSTAT:             {"fstat", fdArg, 0},
	unix.SYS_FCHMOD:            {"fchmod", fdArg, 0},
	unix.SYS_FSYNC:             {"fsync", fdArg, 0},
	unix.SYS_FDATASYNC:         {"fdatasync", fdArg, 0},
	unix.SYS_LISTEN:            {"listen", fdArg, 0},
	unix.SYS_ACCEPT4:           {"accept4", fdArg, 0},
	unix.SYS_SENDMSG:           {"sendmsg", fdArg, 0},
	unix.SYS_RECVMSG:           {"recvmsg", fdArg, 0},
	unix.SYS_EPOLL_CTL:         {"epoll_ctl", fdArg, 2},
	unix.SYS_BIND:              {"bind", addrArg, 1},
	unix.SYS_CONNECT:           {"connect", addrArg, 1},
	unix.SYS_SOCKET:            {"socket", bare, 0},
	unix.SYS_SOCKETPAIR:        {"socketpair", bare, 0},
	unix.SYS_CLONE:             {"clone", fork, 0},
	unix.SYS_CLONE3:            {"clone3", fork, 0},
	unix.SYS_MEMFD_CREATE:      {"memfd_create", bare, 0},
	unix.SYS_PIPE2:             {"pipe2", bare, 0},
	unix.SYS_INOTIFY_INIT1:     {"inotify_init1", bare, 0},
	unix.SYS_PIDFD_OPEN:        {"pidfd_open", bare, 0},
	unix.SYS_PIDFD_SEND_SIGNAL: {"pidfd_send_signal", bare, 0},
	unix.SYS_WAITID:            {"waitid", bare, 0},
}

// point is one system call in the run of a scenario: the nth of its program that is about the same. The order of threads has no part in
// it, so it is found again in the next run, as a rule.
type point struct {
	program, call, target string
	n                     int
}

func (p point) String() string {
	return fmt.Sprintf("%s %s %s %d", p.program, p.call, p.target, p.n)
}

// pointOf says what a call is about; not ok: that is nobody's state.
func (v *watch) pointOf(n notification) (p point, ok bool) {
	c := watchedCalls[n.nr]
	p.call = c.name
	if p.program = programOf(int(n.pid)); p.program == "" {
		return p, false
	}
	m := memory(n.pid)
	switch c.kind {
	case fork:
		flags := n.args[0]
		if c.name == "clone3" {
			flags = m.word(n.args[0])
		}
		return p, flags&unix.CLONE_THREAD == 0
	case fdArg:
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[c.arg])))
		p.target, ok = v.targetOf(to)
		talk := strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "pipe:")
		switch p.call {
		case "read", "fstat": // what comes from others, and when, is not the same in each run
			ok = ok && !talk
		case "write":
			ok = ok && !strings.HasPrefix(to, "pipe:")
		}
		return p, ok
	case pathArg:
		p.target, ok = v.targetOf(absoluteOf(n.pid, int32(n.args[c.arg-1]), m.text(n.args[c.arg])))
		return p, ok
	case wholePath:
		path := m.text(n.args[c.arg])
		if c.name == "execve" {
			p.target = filepath.Base(path)
			return p, true
		}
		p.target, ok = v.targetOf(path)
		return p, ok
	case addrArg:
		raw := m.bytes(n.args[c.arg], int(min(n.args[c.arg+1], 110)))
		if len(raw) < 3 || binary.NativeEndian.Uint16(raw) != unix.AF_UNIX {
			return p, false
		}
		if raw[2] == 0 {
			p.target = "@" + shorten(string(raw[3:]))
			return p, true
		}
		path, _, _ := bytes.Cut(raw[2:], []byte{0})
		p.target, ok = v.targetOf(absoluteOf(n.pid, unix.AT_FDCWD, string(path)))
		return p, ok
	}
	return p, true
}

// programOf is hob, hobd, or what else hobd is executed as; "" is a stranger.
func programOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(string(line), "\x00")
	switch name := filepath.Base(args[0]); {
	case name == "hob":
		return name
	case name != "hobd" || len(args) < 2:
		return ""
	case args[1] == "sentry" || args[1] == "exec" || args[1] == "--selftest":
		return name + "-" + strings.Trim(args[1], "-")
	default:
		return name
	}
}

var (
	hexNumber = regexp.MustCompile(`[0-9a-f]{16,}`)
	tempName  = regexp.MustCompile(`\.new-[^/]*`)
	pidName   = regexp.MustCompile(`([./])\d+(/|$)`)
	guardName = regexp.MustCompile(`[0-9a-f]+:[0-9a-f]+`)
	memberOf  = regexp.MustCompile(`^/proc/(\d+)(/.*)?$`)
	viaFD     = regexp.MustCompile(`^/proc/(?:self|\d+)/fd/\d+`)
)

// shorten takes out what is different in each run: hashes, pids, random names.
func shorten(s string) string {
	s = tempName.ReplaceAllString(hexNumber.ReplaceAllString(s, "ID"), ".new-")
	return pidName.ReplaceAllString(guardName.ReplaceAllString(s, "KEY"), "${1}N$2")
}

// targetOf makes of a path, or of what a descriptor leads to, what it is in every run. ok is false for what is none of hob's state.
func (v *watch) targetOf(path string) (target string, ok bool) {
	if rest, ours := strings.CutPrefix(path, filepath.Dir(v.w.home)+"/"); ours {
		return shorten(strings.TrimPrefix(strings.TrimPrefix(rest, "home/"), ".local/state/hob/")), true
	}
	name, _, _ := strings.Cut(path, ":")
	switch {
	case path == "/proc":
		return path, true
	case name == "socket" || name == "pipe":
		return name, true
	case strings.HasPrefix(path, "/memfd:"):
		return "memfd", true
	}
	m := memberOf.FindStringSubmatch(path)
	if m == nil || m[2] == "/cgroup" || m[2] == "/mountinfo" { // the Go runtime reads those
		return "", false
	}
	env, _ := os.ReadFile("/proc/" + m[1] + "/environ")
	if !bytes.Contains(env, []byte(filepath.Dir(v.w.home)+"/")) {
		return "", false
	}
	pid, _ := strconv.Atoi(m[1])
	who := programOf(pid)
	if who == "" {
		who = "service"
	}
	return "/proc/" + who + shorten(m[2]), true
}

func absoluteOf(pid uint32, dir int32, path string) string {
	if at := viaFD.FindString(path); at != "" {
		if to, err := os.Readlink(strings.Replace(at, "/proc/self/", fmt.Sprintf("/proc/%d/", pid), 1)); err == nil {
			return to + path[len(at):]
		}
	}
	if strings.HasPrefix(path, "/") {
		return path
	}
	at := fmt.Sprintf("/proc/%d/cwd", pid)
	if dir != unix.AT_FDCWD {
		at = fmt.Sprintf("/proc/%d/fd/%d", pid, dir)
	}
	to, _ := os.Readlink(at)
	return filepath.Join(to, path)
}

// memory is that of a process, which waits for an answer.
type memory uint32

func (m memory) bytes(at uint64, n int) []byte {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", m))
	if err != nil {
		return nil
	}
	defer f.Close()
	data := make([]byte, n)
	n, _ = f.ReadAt(data, int64(at))
	return data[:n]
}

func (m memory) text(at uint64) string {
	s, _, _ := bytes.Cut(m.bytes(at, unix.PathMax), []byte{0})
	return string(s)
}

func (m memory) word(at uint64) uint64 {
	if b := m.bytes(at, 8); len(b) == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}
