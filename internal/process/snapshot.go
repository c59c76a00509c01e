package process

import (
	"bytes"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
)

// snapshot is the process table at one instant. What costs more than a line of /proc is read when it is asked for
// the first time, so it may be about a later instant, or even about a later process with the same pid: whoever acts
// on an entry checks its start time again.
type snapshot struct {
	procs    map[int]*entry
	children map[int][]*entry // by parent; none that are dead

	mu sync.Mutex // guards index
	*index
}

type entry struct {
	Info
	env   func() []byte
	files func() openFiles
}

// openFiles is what a process's descriptors say about where it belongs.
type openFiles struct {
	ids          []FileID // named files; a FIFO only if open for writing
	instanceLock bool
}

func newSnapshot(all []Info) *snapshot {
	s := &snapshot{procs: make(map[int]*entry, len(all)), children: map[int][]*entry{}}
	for _, info := range all {
		pid := info.Pid
		e := &entry{
			Info:  info,
			env:   sync.OnceValue(func() []byte { return environ(pid) }),
			files: sync.OnceValue(func() openFiles { return openFilesOf(info) }),
		}
		s.procs[pid] = e
		if !info.Dead() {
			s.children[info.PPid] = append(s.children[info.PPid], e)
		}
	}
	s.index = newIndex(s.procs)
	return s
}

// openFilesOf reads the descriptors of a process. Between fork and execve a child of ours has all of our descriptors,
// also those of another tree that we happen to have open, and would be taken for a member of that. The fork lock is
// held until execve has closed them (TestForkedChildIsNoHolder).
func openFilesOf(info Info) openFiles {
	if info.PPid == os.Getpid() {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	return readOpenFiles(info.Pid)
}

// marks returns the marks in the environment given at exec; one, as a rule.
func (e *entry) marks() (marks []string) {
	for kv := range bytes.SplitSeq(e.env(), []byte{0}) {
		if mark, ok := bytes.CutPrefix(kv, []byte(MarkName+"=")); ok {
			marks = append(marks, string(mark))
		}
	}
	return marks
}

// mark returns the first of them, which getenv(3) gives, or "".
func (e *entry) mark() string {
	if marks := e.marks(); len(marks) > 0 {
		return marks[0]
	}
	return ""
}

// isInstanceLock recognises the name of an instance's lock file, instance-<16 hex digits>.lock.
func isInstanceLock(name string) bool {
	name = strings.TrimSuffix(path.Base(name), " (deleted)")
	hex, ok := strings.CutPrefix(name, "instance-")
	if !ok {
		return false
	}
	hex, ok = strings.CutSuffix(hex, ".lock")
	return ok && len(hex) == 16 && strings.Trim(hex, "0123456789abcdef") == ""
}

// table hands out snapshots that are younger than the call and shares each among all who wait for one: a hundred
// trees ended at once then cost a few looks at the process table, not hundreds.
type table struct {
	read func() ([]Info, error)

	reading chan struct{} // holds an element while a look is under way
	mu      sync.Mutex    // guards next
	next    *look         // not begun, so that others may still join it
}

type look struct {
	done chan struct{}
	snap *snapshot
	err  error
}

var processTable = newTable(processes)

func newTable(read func() ([]Info, error)) *table {
	return &table{read: read, reading: make(chan struct{}, 1)}
}

func (t *table) take() (*snapshot, error) {
	t.mu.Lock()
	if l := t.next; l != nil {
		t.mu.Unlock()
		<-l.done
		return l.snap, l.err
	}
	l := &look{done: make(chan struct{})}
	t.next = l
	t.mu.Unlock()

	t.reading <- struct{}{}
	defer func() { <-t.reading }()
	t.mu.Lock()
	t.next = nil // it begins now: whoever comes later must not be answered with it
	t.mu.Unlock()
	defer close(l.done)
	all, err := t.read()
	if err != nil {
		l.err = err
		return nil, err
	}
	l.snap = newSnapshot(all)
	return l.snap, nil
}
