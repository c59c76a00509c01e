package process

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// FileID names a file, whatever its path.
type FileID struct{ Dev, Ino uint64 }

// FileIDOf returns the identity of an open file.
func FileIDOf(f *os.File) (FileID, error) {
	var id FileID
	err := withDescriptors([]*os.File{f}, nil, func(fds []uintptr) error {
		var st unix.Stat_t
		if err := unix.Fstat(int(fds[0]), &st); err != nil {
			return &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
		}
		id = FileID{Dev: uint64(st.Dev), Ino: st.Ino}
		return nil
	})
	return id, err
}

// Holders names files that make whoever has one of them open a member of the tree: the lock given to Start, and the
// FIFO that the output goes to. A FIFO counts only where it is open for writing (read-write too), so its readers are
// not members: they must open it read-only. The zero value names none. Without effect on darwin.
type Holders struct{ Files []FileID }

// Tree returns the members of p's tree that run now, by pid; the leader is one of them while it runs, zombies
// never are. Started from the leader, its group and session, those who carry the mark and those who hold one of the
// extra files, it takes in all their descendants. Never a member is
//   - the calling process and its ancestors;
//   - a process that holds the lock of an instance of its own (a descriptor of a file named instance-<16 hex>.lock),
//     with its descendants: somebody's daemon, started from inside the tree. If that is the leader itself, the
//     leader is a member and its descendants are not;
//   - a process older than the leader.
func (p *Process) Tree(extra Holders) ([]Info, error) {
	members, _, err := p.tree(extra)
	return members, err
}

// Alone reports that nothing of p's tree is left, without a look at the process table: the leader was our child and
// has exited, and of what it left behind nobody is our child now, as they all would be after [BecomeSubreaper].
// False means that Tree has to be asked. It does not see who belongs to the tree without descending from its leader,
// by a descriptor or a mark that was handed on. On darwin it is always false.
func (p *Process) Alone() bool {
	if !p.child || !p.isDone() || !subreaper.Load() {
		return false
	}
	there, err := anyStray.take()
	return err == nil && !there
}

// tree also reports whether the whole group may be signalled: it is p's, and everyone in it a member or the caller's to signal.
func (p *Process) tree(extra Holders) (members []Info, group bool, err error) {
	snap, err := processTable.take()
	if err != nil {
		return nil, false, fmt.Errorf("look for the tree of %s: %w", p, err)
	}
	// After the look: the number then stood for p's group during all of it.
	pinned := p.groupPinned()
	members, group = snap.tree(p.id, p.mark, extra, pinned, os.Getpid())
	return members, group, nil
}

// groupPinned reports whether the number of the group has meant the leader's group, and no other, until now.
func (p *Process) groupPinned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.released && (p.child && leaderIsKept || p.h.groupPinned(p.id))
}

// tree is the rule of membership. pinned: id.Pid still numbers the leader's group and session.
func (s *snapshot) tree(id ID, mark string, extra Holders, pinned bool, self int) (infos []Info, group bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extend(id.Start)
	daemons := s.daemonsSince(id, self)
	stop := func(e *entry) bool { return e.Pid == self || daemons[e.Pid] != nil }
	members := map[int]*entry{}
	for _, found := range s.first(id, mark, extra, pinned) {
		for _, e := range found {
			if e.Start >= id.Start && !stop(e) {
				s.descend(e, members, stop)
			}
		}
	}
	for _, pid := range s.ancestors(self) {
		delete(members, pid)
	}
	group = pinned && !slices.ContainsFunc(s.groups[id.Pid], func(e *entry) bool { return members[e.Pid] == nil })
	return sortedInfos(members), group
}

// first returns those from whom the others of a tree descend: the leader, its group and session, those who carry the mark, and those who hold a file.
func (s *snapshot) first(id ID, mark string, extra Holders, pinned bool) [][]*entry {
	found := [][]*entry{}
	if e := s.procs[id.Pid]; e != nil && e.Start == id.Start && !e.Dead() {
		found = append(found, []*entry{e})
	}
	if pinned {
		found = append(found, s.groups[id.Pid], s.sessions[id.Pid])
	}
	if mark != "" {
		found = append(found, s.marks[mark])
	}
	for _, file := range extra.Files {
		found = append(found, s.holders[file])
	}
	return found
}

// ancestors returns the parent of a process, its parent, and so on.
func (s *snapshot) ancestors(pid int) []int {
	var pids []int
	for e := s.procs[pid]; e != nil && !slices.Contains(pids, e.PPid); e = s.procs[e.PPid] {
		pids = append(pids, e.PPid)
	}
	return pids
}

// daemonsSince returns those who hold the lock of an instance, and their descendants. Not the leader: it was started to be
// one. Not the calling process: what it descends from does not make its own children another's.
func (s *snapshot) daemonsSince(id ID, self int) map[int]*entry {
	daemons := map[int]*entry{}
	for _, e := range s.daemons {
		if e.Start >= id.Start && e.Pid != self {
			s.descend(e, daemons, func(e *entry) bool { return e.Pid == self })
		}
	}
	if e := daemons[id.Pid]; e != nil && e.Start == id.Start {
		delete(daemons, id.Pid)
	}
	return daemons
}

// descend adds e and its descendants to set, but not through those that stop says.
func (s *snapshot) descend(e *entry, set map[int]*entry, stop func(*entry) bool) {
	if set[e.Pid] != nil || stop(e) {
		return
	}
	set[e.Pid] = e
	for _, child := range s.children[e.Pid] {
		s.descend(child, set, stop)
	}
}

func sortedInfos(set map[int]*entry) []Info {
	infos := make([]Info, 0, len(set))
	for _, e := range set {
		infos = append(infos, e.Info)
	}
	slices.SortFunc(infos, func(a, b Info) int { return a.Pid - b.Pid })
	return infos
}

// Marked is a running process that carries a mark.
type Marked struct {
	Info
	ID   ID
	Mark string
}

// FindMarked returns the processes that run and whose mark has the prefix, by pid: how a successor finds what was
// started and not yet recorded. The first of a tree is the one that leads its session (Info.Session == Info.Pid). A
// process that overwrote its environment is not found, nor one of another user.
func FindMarked(prefix string) ([]Marked, error) {
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	snap, err := processTable.take()
	if err != nil {
		return nil, fmt.Errorf("look for mark %q: %w", prefix, err)
	}
	var found []Marked
	for _, e := range snap.procs {
		if e.Dead() {
			continue // its environment is gone; there may be thousands, and each look costs
		}
		if mark := e.mark(); mark != "" && strings.HasPrefix(mark, prefix) {
			found = append(found, Marked{Info: e.Info, ID: ID{Pid: e.Pid, Start: e.Start, Boot: boot}, Mark: mark})
		}
	}
	slices.SortFunc(found, func(a, b Marked) int { return a.Pid - b.Pid })
	return found, nil
}
