package process

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// index answers who of a snapshot belongs where, so that a hundred trees in one look cost the reading of a process's environment and descriptors
// once, and each tree only its own members. It knows the processes that started at since or later: those that are older than anything that hob
// started, of a desktop with its thousands of descriptors, are not read for it.
type index struct {
	youngest []*entry // all that run, but for the kernel's own, the youngest first
	known    int      // so many of them are in the maps

	groups, sessions map[int][]*entry
	marks            map[string][]*entry
	holders          map[FileID][]*entry
	daemons          []*entry // who holds the lock of an instance
}

func newIndex(procs map[int]*entry) *index {
	x := &index{groups: map[int][]*entry{}, sessions: map[int][]*entry{}, marks: map[string][]*entry{}, holders: map[FileID][]*entry{}}
	for _, e := range procs {
		if e.Dead() || e.kernel {
			continue
		}
		x.youngest = append(x.youngest, e)
		x.groups[e.Group] = append(x.groups[e.Group], e)
		x.sessions[e.Session] = append(x.sessions[e.Session], e)
	}
	slices.SortFunc(x.youngest, func(a, b *entry) int { return cmp.Or(cmp.Compare(b.Start, a.Start), b.Pid-a.Pid) })
	return x
}

// extend has those in the maps who started at since or later.
func (x *index) extend(since uint64) {
	more := x.youngest[x.known:]
	if n := slices.IndexFunc(more, func(e *entry) bool { return e.Start < since }); n >= 0 {
		more = more[:n]
	}
	x.known += len(more)
	readAll(len(more), func(i int) { more[i].env(); more[i].files() })
	for _, e := range more {
		for _, mark := range e.marks() {
			x.marks[mark] = append(x.marks[mark], e)
		}
		for _, id := range e.files().ids {
			x.holders[id] = append(x.holders[id], e)
		}
		if e.files().instanceLock {
			x.daemons = append(x.daemons, e)
		}
	}
}

// alone is how many files of /proc one goroutine reads before another one is worth its start.
const alone = 16

// readAll calls f with 0 to n-1, on all processors when there are many: what it takes is system calls.
func readAll(n int, f func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; int(i) < n; i = next.Add(1) - 1 {
			f(int(i))
		}
	}
	var others sync.WaitGroup
	for range min(n/alone, runtime.GOMAXPROCS(0)-1) {
		others.Go(work)
	}
	work()
	others.Wait()
}
