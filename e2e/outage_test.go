//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

// outage is something that hobd needs, and does not get for a while.
type outage struct {
	reason  string
	prepare func(w *world)              // before there is a hobd; may be nil
	begin   func(w *world) (end func()) // it skips the test where that can't be had
}

var outages = map[string]outage{
	"no bytes":       {reason: "no space left on device", prepare: small("size=4m"), begin: filled},
	"no inodes":      {reason: "no space left on device", prepare: small("size=4m,nr_inodes=60"), begin: filled},
	"immutable":      {reason: "operation not permitted", begin: immutable},
	"no descriptors": {reason: "too many open files", begin: noDescriptors},
	"no processes":   {reason: "resource temporarily unavailable", begin: noProcesses},
}

// TestOutages: what can't be done is said with its reason, what ran runs on, what was done and could not be written down is said too; and when it is over,
// all is as if it had not been, for the next hobd, too.
func TestOutages(t *testing.T) {
	t.Parallel()
	for name, o := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if o.prepare != nil {
				o.prepare(w)
			}
			for i := range 3 {
				w.outlast(o, fmt.Sprint("new", i))
			}
		})
	}
}

// outlast goes through one outage, in which a service of that name is started for the first time.
func (w *world) outlast(o outage, fresh string) {
	w.t.Helper()
	for _, name := range []string{"web", "gone"} {
		w.ok("run", name, "--", "sleep", "1000")
	}
	was := w.doc(0, "ps", "web").Service
	end := o.begin(w)
	r := w.hob("--json", "run", fresh, "--", "sleep", "1000")
	if w.requireReason(o.reason, r) {
		require.Contains(w.t, r.stdout, o.reason, "a start can't work")
	}
	w.requireReason(o.reason, w.hob("--json", "stop", "gone"))
	if gone := w.doc(0, "ps", "gone").Service; gone.Unsaved != "" {
		require.Contains(w.t, w.ok("ps", "gone").stdout, o.reason)
		require.Contains(w.t, w.ok("ps").stdout, "not saved: ")
	}
	require.Equal(w.t, was.Pid, w.doc(0, "ps", "web").Service.Pid)
	end()
	w.ok("stop", "gone")
	w.eventually("all is written down", func() bool {
		for _, s := range w.list() {
			if s.Unsaved != "" {
				return false
			}
		}
		return true
	})
	w.killSilently() // the next hobd knows what is written down
	w.ok("daemon", "start", next)
	require.Equal(w.t, "stopped", w.doc(0, "ps", "gone").Service.State)
	require.Empty(w.t, w.marked("gone"))
	w.requireSame(was, w.doc(0, "ps", "web").Service)
	w.ok("run", fresh, "--", "sleep", "1000")
	require.Len(w.t, w.marked(fresh), 1)
	w.ok("down")
}

// requireReason: it did not work for this reason, or it did, and if it could not be written down, it was for this reason. survived: unless hobd was
// ended by its own runtime, see noThread.
func (w *world) requireReason(reason string, r result) (survived bool) {
	w.t.Helper()
	if r.code == 0 {
		var d api.Document
		require.NoError(w.t, json.Unmarshal([]byte(r.stdout), &d))
		if said := d.Services[0].Unsaved; said != "" {
			require.Contains(w.t, said, reason)
		}
		return true
	}
	var d api.ErrorDocument
	require.NoError(w.t, json.Unmarshal([]byte(r.stdout), &d))
	if strings.Contains(d.Error.Message, "went away before it answered") && noThread.MatchString(w.daemonLog()) {
		return false // the next hobd goes on
	}
	require.Contains(w.t, d.Error.Message, reason)
	return true
}

// noThread is what the Go runtime, with and without cgo, says before it ends a program that can't have another thread.
var noThread = regexp.MustCompile(`pthread_create failed: Resource temporarily unavailable|failed to create new OS thread`)

// small gives the state a file system that can be filled.
func small(options string) func(*world) {
	return func(w *world) {
		w.mounted(func() error {
			return syscall.Mount("hob-test", w.stateDir(), "tmpfs", syscall.MS_NOSUID, options+",mode=0700")
		})
	}
}

// mounted has the state on a file system of its own until the end of the test, and skips that where this can't be.
func (w *world) mounted(mount func() error) {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(w.stateDir(), 0o700))
	if err := mount(); err != nil {
		w.t.Skipf("a file system can't be mounted here: %v", err)
	}
	w.t.Cleanup(func() {
		w.end()
		w.unmount()
	})
}

// unmount waits for processes that were killed: they have their files open for a moment longer.
func (w *world) unmount() {
	w.t.Helper()
	w.eventually("nobody has a file there", func() bool { return syscall.Unmount(w.stateDir(), 0) == nil })
}

func filled(w *world) (end func()) {
	filler := filepath.Join(w.stateDir(), "filler")
	fill(filler)
	return func() { require.NoError(w.t, os.RemoveAll(filler)) }
}

// immutable lets nothing be made, removed or renamed in the directories, ioctl_iflags(2).
func immutable(w *world) (end func()) {
	var dirs []string
	for _, name := range []string{"", "state", "env", "log", "svc", "fifo"} {
		dirs = append(dirs, w.inst().Path(name))
	}
	end = func() {
		for _, dir := range dirs {
			_ = setImmutable(dir, false)
		}
	}
	w.t.Cleanup(end)
	for _, dir := range dirs {
		if err := setImmutable(dir, true); err != nil {
			w.t.Skipf("%s can't be made immutable: %v", dir, err)
		}
	}
	return end
}

func setImmutable(path string, on bool) error {
	const immutable = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags, err := unix.IoctlGetInt(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	if flags &^= immutable; on {
		flags |= immutable
	}
	return unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, flags)
}

// noDescriptors leaves hobd four, which is enough for a connection and a look at processes, and too few for a start.
func noDescriptors(w *world) (end func()) { return w.leaveDescriptors(4) }

// leaveDescriptors leaves hobd n that are free.
func (w *world) leaveDescriptors(n int) (end func()) {
	w.t.Helper()
	pid := w.pid()
	open := descriptors(w.t, pid)
	limit := 0
	for free := 0; free < n; limit++ {
		if _, taken := open[limit]; !taken {
			free++
		}
	}
	var was unix.Rlimit
	require.NoError(w.t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was))
	few := unix.Rlimit{Cur: uint64(limit), Max: was.Max}
	require.NoError(w.t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil))
	return func() { require.NoError(w.t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil)) }
}

// noProcesses lets hobd make neither process nor thread.
func noProcesses(w *world) (end func()) {
	g := newCgroup(w.t, "pids")
	pid := w.pid()
	g.take(pid)
	g.set("pids.max", g.read("pids.current"))
	return func() {
		g.set("pids.max", "max")
		if !running(pid) {
			return // see noThread
		}
		home := &cgroup{t: w.t, dir: filepath.Dir(g.dir)}
		home.take(pid)
	}
}

// TestBrokenDisk: every file of hob's is on a disk that fails from now on. What runs runs on and can be stopped, everything else says why not, and with the disk whole
// again hob works again.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := filepath.Join(w.home, "image")
	mount := func(image string) error { return exec.Command("mount", "-o", "loop", image, w.stateDir()).Run() }
	w.mounted(func() error {
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(image, 16<<20); err != nil {
			return err
		}
		if err := exec.Command("mkfs.ext4", "-q", "-F", "-E", "root_owner="+strconv.Itoa(os.Getuid())+":"+strconv.Itoa(os.Getgid()), image).Run(); err != nil {
			return err
		}
		return mount(image)
	})
	require.NoError(t, os.Chmod(w.stateDir(), 0o700))
	syscall.Sync()
	w.ok("run", "web", "--", "sleep", "1000")
	web := w.doc(0, "ps", "web").Service.Pid
	if err := shutdown(w.stateDir()); err != nil {
		t.Skipf("a file system can't be made to fail here: %v", err)
	}
	const reason = "input/output error"
	require.Contains(t, w.failure(1, "run", "other", next, "--", "sleep", "1000").Message, reason)
	require.Equal(t, web, w.doc(0, "ps", "web").Service.Pid)
	require.Contains(t, w.doc(0, "stop", "web", next).Services[0].Unsaved, reason)
	require.False(t, running(web))
	require.Contains(t, w.failure(1, "daemon", "upgrade", next).Message, reason, "the next program would start it again")
	w.ok("daemon", "stop", next)
	for _, args := range [][]string{{"ps"}, {"daemon", "start"}, {"run", "web", "--", "sleep", "1000"}, {"up"}} {
		require.Contains(t, w.failure(1, append([]string{next}, args...)...).Message, reason, "%v", args)
	}
	w.unmount()
	// The broken one may live on: a test beside this one can have made itself a mount namespace(7), with a copy of our mount.
	whole := image + ".whole"
	require.NoError(t, exec.Command("cp", image, whole).Run())
	require.NoError(t, mount(whole))
	w.ok("run", "web", "--", "sleep", "1000")
	require.Equal(t, string(service.Running), w.doc(0, "ps", "web").Service.State)
	w.ok("down")
}

// shutdown has every later operation on an ext4 fail with EIO: EXT4_IOC_SHUTDOWN of ext4(5)'s ioctl calls.
func shutdown(path string) error {
	const request, noLogFlush = 0x8004587d, 2
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags := uint32(noLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), request, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return errno
	}
	return nil
}
