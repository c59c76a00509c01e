//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watch hears of every file of the instance that is removed, inotify(7), where nobody but hob does that. The lock file is never removed or replaced.
// In a project whose daemons never leave in good order, neither is the socket or the pid file: a later one is renamed over it.
func (p *project) watch() {
	if p.kind.files == removed {
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close()
	wd, err := unix.InotifyAddWatch(fd, p.state, unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO)
	if err == nil && p.kind.files == untended {
		_, err = unix.InotifyAddWatch(fd, p.instance, unix.IN_DELETE)
	}
	if err != nil {
		p.violated("%s: watch: %v", p.kind.name, err)
		return
	}
	buf := make([]byte, 64<<10)
	for p.ctx.Err() == nil {
		_ = f.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := f.Read(buf)
		if err != nil {
			continue
		}
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			from, size := int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[12:])
			name := string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size], "\x00"))
			rest = rest[unix.SizeofInotifyEvent+size:]
			lock := int(from) == wd && name == filepath.Base(p.lockPath())
			if lock || int(from) != wd && (name == "hob.sock" || name == "hob.pid") {
				p.violated("%s: somebody has removed or replaced %s", p.kind.name, name)
			}
		}
	}
}

// scan looks again and again at all processes, and at what hobd and the services complain of.
func (h *harness) scan() {
	for n := 0; h.ctx.Err() == nil; n++ {
		h.lookAtProcesses()
		for _, p := range h.projects {
			p.complaints()
			if h.Stop && n%10 == 9 && p.kind.toml != "" && p.kind.files != removed {
				if err := p.checkLog("writer", nil); err != nil {
					p.violated("%s: the log of writer: %v", p.kind.name, err)
				}
			}
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-h.ctx.Done():
			t.Stop()
		}
	}
}

// lookAtProcesses: of each service one process runs at most, and none has an instance's lock open.
func (h *harness) lookAtProcesses() {
	seen := map[string]proc{}
	for _, pid := range allPids() {
		before, ok := statOf(pid)
		if !ok || before.gone {
			continue
		}
		mark := variable(pid, "HOB_ID")
		if mark == "" && !isChildSentry(before) {
			continue
		}
		for _, path := range written(pid) {
			if name := filepath.Base(path); strings.HasPrefix(name, "instance-") && strings.HasSuffix(strings.TrimSuffix(name, " (deleted)"), ".lock") && before.lives() && (mark != "" || isChildSentry(before)) {
				h.violated("pid %d (%v %s), child of %d (%v), has the lock open: %s", pid, cmdline(pid), mark, before.ppid, cmdline(before.ppid), path)
			}
		}
		if mark == "" {
			continue
		}
		name := mark[:max(0, strings.LastIndexByte(mark, '/'))]
		if other, twice := seen[name]; twice && other.lives() && before.lives() && other.lives() {
			h.violated("two copies of a service: %s has pids %d and %d", name, other.pid, pid)
		}
		seen[name] = before
	}
}

// isChildSentry: it is a sentry whose hobd lives, so it is no client yet.
func isChildSentry(p proc) bool {
	if a := cmdline(p.pid); len(a) < 3 || a[1] != "sentry" {
		return false
	}
	parent, ok := statOf(p.ppid)
	now, _ := statOf(p.pid)
	by := cmdline(p.ppid) // not a sentry itself: then this is a hobd that is about to be executed
	return ok && len(by) > 1 && strings.HasPrefix(filepath.Base(by[0]), "hobd") && by[1] != "sentry" && now.ppid == parent.pid && parent.lives()
}

// complaints looks at what services say of themselves, at how often they were started, and whether hobd had to mend what nobody has broken.
func (p *project) complaints() {
	if text, err := os.ReadFile(filepath.Join(p.dir, "violations")); err == nil {
		p.violated("%s: services say: %s", p.kind.name, text)
		_ = os.Remove(filepath.Join(p.dir, "violations"))
	}
	if may := p.may.Load(); may > 0 && p.kind.toml != "" {
		runs := map[string]int64{}
		files, _ := filepath.Glob(filepath.Join(p.dir, "*.run.*"))
		for _, f := range files {
			name, _, _ := strings.Cut(filepath.Base(f), ".")
			runs[name]++
		}
		for name, n := range runs {
			if n > p.may.Load() && !strings.HasPrefix(name, "crash") {
				p.violated("%s: %s was started %d times, where %d would have done: one that ran was not adopted", p.kind.name, name, n, may)
				p.may.Add(n)
			}
		}
	}
	if p.kind.files != removed {
		text, _ := os.ReadFile(p.path("hobd.log"))
		for _, words := range []string{"were removed and are back", "lock file was removed"} {
			if bytes.Contains(text, []byte(words)) {
				p.violated("%s: hobd had to mend what nobody but hob can have broken: %q", p.kind.name, words)
				p.kind.files = removed
			}
		}
	}
}

// checkLogs reads what the services have written: each line once, whole and in order, to the last.
func (p *project) checkLogs() {
	counts, _ := filepath.Glob(filepath.Join(p.dir, "*.run.*"))
	want := map[string]map[string]int{}
	for _, path := range counts {
		f := strings.Split(filepath.Base(path), ".")
		data, _ := os.ReadFile(path)
		if want[f[0]] == nil {
			want[f[0]] = map[string]int{}
		}
		if len(data) == 8 {
			want[f[0]][f[2]] = int(binary.LittleEndian.Uint64(data))
		}
	}
	if len(want) == 0 {
		p.violated("%s: no service has ever run", p.kind.name)
	}
	if p.kind.files == removed {
		return // with a FIFO or a log that somebody has removed, something is lost
	}
	for name, runs := range want {
		if err := p.checkLog(name, runs); err != nil {
			p.violated("%s: the log of %s: %v", p.kind.name, name, err)
		}
	}
}

// checkLog compares a log with what its runs, by generation, have written at least; nil: they go on.
func (p *project) checkLog(name string, want map[string]int) error {
	files, _ := filepath.Glob(p.path("log/" + name + "/*.log"))
	slices.Sort(files)
	var all []io.Reader
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		all = append(all, f)
	}
	r := bufio.NewReaderSize(io.MultiReader(all...), 1<<20)
	next, buf := map[string]int{}, make([]byte, 0, lineSize)
	for at := 0; ; at++ {
		text, err := r.ReadSlice('\n')
		if err == io.EOF && (len(text) == 0 || want == nil) { // while it is written, the last line may be half there
			break
		}
		f := strings.Fields(string(text))
		if len(f) < 4 {
			return fmt.Errorf("line %d is %q", at, text)
		}
		generation := f[1]
		if buf = line(buf, generation, next[generation]); !bytes.Equal(buf, text) {
			return fmt.Errorf("line %d is %q instead of %q", at, bytes.TrimRight(text, ".\n"), bytes.TrimRight(buf, ".\n"))
		}
		next[generation]++
	}
	for generation, n := range want {
		if strings.HasPrefix(name, "crash") {
			continue
		}
		if next[generation] < n {
			return fmt.Errorf("run %s has written %d lines, and %d are there", generation, n, next[generation])
		}
	}
	return nil
}

// tracer reads the kernel's own record of locks, the trace point filelock:flock_lock_inode, of all files on the harness's file
// system. hob never asks for a shared lock, which would make others fail; and never unlocks but by closing, which is by exit.
type tracer struct {
	h      *harness
	pipe   *os.File
	dir    string
	dev    uint64
	grants atomic.Int64
	done   chan struct{}
}

// trace gives nil where tracefs can't be mounted.
func trace(h *harness) *tracer {
	if !h.Private {
		return nil
	}
	at := filepath.Join(h.Base, "trace")
	var st unix.Stat_t
	if os.Mkdir(at, 0o700) != nil || unix.Stat(h.Base, &st) != nil || unix.Mount("tracefs", at, "tracefs", 0, "") != nil {
		return nil
	}
	t := &tracer{h: h, dir: filepath.Join(at, "instances", "hob-chaos-"+strconv.FormatInt(time.Now().UnixNano(), 36)), dev: st.Dev, done: make(chan struct{})}
	stale, _ := filepath.Glob(filepath.Join(at, "instances", "hob-chaos-*")) // of runs that were killed; one that is read can't be removed
	for _, dir := range stale {
		_ = os.Remove(dir)
	}
	if os.Mkdir(t.dir, 0o700) != nil {
		return nil
	}
	event := filepath.Join(t.dir, "events/filelock/flock_lock_inode")
	filter := fmt.Sprintf("s_dev == %d", uint64(unix.Major(st.Dev))<<20|uint64(unix.Minor(st.Dev)))
	err := os.WriteFile(filepath.Join(event, "filter"), []byte(filter), 0)
	if err == nil {
		err = os.WriteFile(filepath.Join(event, "enable"), []byte("1"), 0)
	}
	if err == nil {
		t.pipe, err = os.Open(filepath.Join(t.dir, "trace_pipe"))
	}
	if err != nil {
		_ = os.Remove(t.dir)
		return nil
	}
	go t.read()
	return t
}

func (t *tracer) read() {
	defer close(t.done)
	for lines := bufio.NewScanner(t.pipe); lines.Scan(); {
		text := lines.Text()
		switch {
		case !strings.Contains(text, "flock_lock_inode:"):
			if strings.Contains(text, "LOST") {
				t.h.violated("the kernel's trace is not complete: %s", text)
			}
		case strings.Contains(text, "fl_type=F_RDLCK"):
			t.h.violated("somebody has asked for a shared lock: %s", text)
		case strings.Contains(text, "fl_type=F_UNLCK") && !strings.Contains(text, "FL_CLOSE"):
			t.h.violated("somebody has unlocked instead of closing: %s", text)
		case strings.Contains(text, "fl_type=F_WRLCK") && strings.HasSuffix(text, "ret=0"):
			t.grants.Add(1)
		}
	}
}

func (t *tracer) close() {
	_ = os.WriteFile(filepath.Join(t.dir, "events/filelock/flock_lock_inode/enable"), []byte("0"), 0)
	_ = t.pipe.Close()
	select {
	case <-t.done:
	case <-time.After(time.Second): // it waits in the kernel for a line that will not come
	}
	_ = os.Remove(t.dir)
}
