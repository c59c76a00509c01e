//go:build linux

package e2e

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sabotage is what happens instead of a call.
type sabotage struct {
	name  string
	errno syscall.Errno // 0: SIGKILL
}

var sabotages = []sabotage{{"SIGKILL", 0}, {"EIO", syscall.EIO}, {"ENOSPC", syscall.ENOSPC}, {"EACCES", syscall.EACCES},
	{"EMFILE", syscall.EMFILE}, {"EINTR", syscall.EINTR}}

// watch decides about the system calls of programs: it lets all through, but the one that it is told to sabotage. It has to go on for as long
// as one of the programs lives, and does.
type watch struct {
	w       *world
	mu      sync.Mutex
	seen    map[point]int // how often so far; n is 0
	trace   []point
	at      *point
	do      sabotage
	hit     bool
	last    time.Time // of the last call that counts
	answers sync.WaitGroup
}

// newWatch makes a world of programs as they are released, and its watch, which ends after it.
func newWatch(t *testing.T) *watch {
	v := &watch{seen: map[point]int{}, last: time.Now()}
	t.Cleanup(v.answers.Wait)
	v.w = newWorld(t)
	v.w.bin = filepath.Join(bin, "plain")
	return v
}

// begin forgets what was seen, and sabotages the call at p from now on, if p is not nil.
func (v *watch) begin(p *point, do sabotage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen, v.trace, v.at, v.do, v.hit = map[point]int{}, nil, p, do, false
}

// points are those that were seen since begin.
func (v *watch) points() []point {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.trace)
}

func (v *watch) wasHit() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.hit
}

// quiet reports whether nothing that counts has happened for a moment.
func (v *watch) quiet(moment time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(v.last) > moment
}

// hob runs a call of hob under this watch. It skips the test where that is not possible.
func (v *watch) hob(args ...string) result {
	v.w.t.Helper()
	var numbers []string
	for nr := range watchedCalls {
		numbers = append(numbers, strconv.Itoa(int(nr)))
	}
	cmd := v.w.command(args...)
	watched := exec.Command(filepath.Join(bin, "watched"), append([]string{strings.Join(numbers, ","), cmd.Path}, args...)...)
	watched.Dir, watched.Env = cmd.Dir, cmd.Env
	near, far := socketPair(v.w.t)
	defer near.Close()
	watched.ExtraFiles = []*os.File{far}
	v.answers.Go(func() {
		if listener, err := receiveFile(near); err == nil {
			v.decide(listener)
		}
	})
	var r result
	func() {
		defer far.Close()
		r = v.w.run(watched)
	}()
	if r.code == 125 {
		v.w.t.Skip("system calls can't be watched here: " + r.stderr)
	}
	return r
}

func socketPair(t *testing.T) (near *net.UnixConn, far *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fds[0]), "near")
	defer file.Close()
	c, err := net.FileConn(file)
	require.NoError(t, err)
	return c.(*net.UnixConn), os.NewFile(uintptr(fds[1]), "far")
}

func receiveFile(c *net.UnixConn) (int, error) {
	one, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(one, oob)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return -1, errors.New("no file came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("no file came")
	}
	return fds[0], nil
}

// notification and answer are struct seccomp_notif and seccomp_notif_resp, see seccomp_unotify(2).
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

// decide answers until nobody is left who could ask.
func (v *watch) decide(listener int) {
	defer unix.Close(listener)
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return // POLLHUP
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // who asked is dead
		}
		a := v.answer(n)
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
	}
}

func (v *watch) answer(n notification) answer {
	goOn := answer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	p, ok := v.pointOf(n)
	if !ok {
		return goOn
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = time.Now()
	v.seen[p]++
	p.n = v.seen[point{p.program, p.call, p.target, 0}]
	v.trace = append(v.trace, p)
	if v.at == nil || *v.at != p || v.hit {
		return goOn
	}
	v.hit = true
	if v.do.errno != 0 {
		return answer{id: n.id, error: -int32(v.do.errno)}
	}
	// It still waits for the answer, so it is nobody else's pid.
	_ = unix.Kill(int(n.pid), unix.SIGKILL)
	return goOn
}
