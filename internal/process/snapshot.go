package process

import (
	"bytes"
	"os"
	"path"
	"strings"
	"sync"
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

// openFilesOf reads the descriptors of a process. Until execve has closed them a child of ours has all of our descriptors,
// also those of another tree that we happen to have open, and would be taken for a member of that: those that are
// to be closed are left out (TestForkedChildIsNoHolder). execve gives a process its name after that, so one with
// another name than ours has what it wants to have (TestStrayThatClosesOnExecIsFound).
func openFilesOf(info Info) openFiles {
	return readOpenFiles(info.Pid, info.PPid == os.Getpid() && info.Command == ownName())
}

var ownName = sync.OnceValue(func() string {
	self, _ := Stat(os.Getpid())
	return self.Command
})

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

var processTable = newShared(takeSnapshot)

func takeSnapshot() (*snapshot, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	return newSnapshot(all), nil
}
