package process

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// reaping keeps a Reaper (writer) away while a process is being started, adopted or released (readers), that is
// while the list of leaders is behind the kernel. It is a package's variable because children belong to the whole
// process: a second list could not protect the first one's leaders.
var reaping sync.RWMutex

// subreaper: orphans become our children.
var subreaper atomic.Bool

// leaders are the processes that nobody but their Process may reap.
var leaders = leaderList{byPid: map[int]*Process{}}

type leaderList struct {
	mu    sync.Mutex
	byPid map[int]*Process
}

func (l *leaderList) add(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byPid[p.id.Pid] = p
}

// remove forgets p, unless its pid is already another leader's.
func (l *leaderList) remove(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byPid[p.id.Pid] == p {
		delete(l.byPid, p.id.Pid)
	}
}

func (l *leaderList) has(pid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byPid[pid] != nil
}

// Reaper collects strays: orphans that became our children because this process is their subreaper, and leaders
// that were released while they ran. It takes every zombie child but the leaders of this package, so children
// started in another way (os/exec) would lose their exit status to it: start them with [Start], or within [Reaper.Pause].
type Reaper struct {
	paused atomic.Int32
	round  *shared[int]
}

// NewReaper returns a Reaper. One is enough; several do no harm.
func NewReaper() *Reaper {
	r := &Reaper{}
	r.round = newShared(r.reap)
	return r
}

// Reap collects the strays that have exited and returns how many; those who call at the same time share a round. It does not wait for any. Call it at each
// SIGCHLD and after a Terminate; what ends during the call may be left for the next one. On darwin there are none.
func (r *Reaper) Reap() int {
	n, _ := r.round.take()
	return n
}

func (r *Reaper) reap() (n int, err error) {
	reaping.Lock()
	defer reaping.Unlock()
	if r.paused.Load() > 0 {
		return 0, nil
	}
	for _, pid := range strays() {
		// Exactly this pid, never -1: a kept zombie leader would be returned for ever.
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err == nil && got == pid {
			n++
		}
	}
	return n, nil
}

// strays are our children that are no leaders. The caller holds reaping: nobody may leave the list of leaders while the children are read.
func strays() []int {
	return slices.DeleteFunc(children(), leaders.has)
}

// anyStray is whether there are any.
var anyStray = newShared(func() (bool, error) {
	reaping.Lock()
	defer reaping.Unlock()
	return len(strays()) > 0, nil
})

// Pause makes Reap do nothing until the returned function is called, which then reaps once. Calls nest. When Pause
// returns no Reap is under way.
func (r *Reaper) Pause() (resume func()) {
	reaping.Lock()
	r.paused.Add(1)
	reaping.Unlock()
	return sync.OnceFunc(func() {
		r.paused.Add(-1)
		r.Reap()
	})
}
