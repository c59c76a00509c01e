package process

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// fake is a snapshot without processes: pid 1 is init, 10 the caller, 20 the leader of the tree in question.
type fake struct{ *snapshot }

func newFake(infos ...Info) fake {
	s := newSnapshot(append([]Info{{Pid: 1, State: 'S'}, {Pid: 10, PPid: 1, State: 'S', Start: 5}}, infos...))
	for _, e := range s.procs {
		e.env = func() []byte { return nil }
		e.files = func() openFiles { return openFiles{} }
	}
	return fake{s}
}

func (f fake) env(pid int, env string) fake {
	f.procs[pid].env = func() []byte { return []byte(env) }
	return f
}

func (f fake) files(pid int, files openFiles) fake {
	f.procs[pid].files = func() openFiles { return files }
	return f
}

func (f fake) members(pinned bool) ([]int, bool) {
	infos, group := f.tree(ID{Pid: 20, Start: 100}, "m", Holders{Files: []FileID{{Dev: 1, Ino: 2}}}, pinned, 10)
	pids := []int{}
	for _, info := range infos {
		pids = append(pids, info.Pid)
	}
	return pids, group
}

func TestMembership(t *testing.T) {
	t.Parallel()
	leader := Info{Pid: 20, PPid: 10, Group: 20, Session: 20, Start: 100, State: 'S'}
	with := func(more ...Info) fake { return newFake(append(more, leader)...) }
	lock := openFiles{instanceLock: true}
	holder := openFiles{ids: []FileID{{Dev: 9, Ino: 9}, {Dev: 1, Ino: 2}}}
	for name, c := range map[string]struct {
		snap     fake
		unpinned bool
		want     []int
		apart    bool // the group must not be signalled as a whole
	}{
		"alone":   {snap: with(), want: []int{20}},
		"group":   {snap: with(Info{Pid: 21, PPid: 1, Group: 20, Session: 7, Start: 100}), want: []int{20, 21}},
		"session": {snap: with(Info{Pid: 21, PPid: 1, Group: 21, Session: 20, Start: 101}), want: []int{20, 21}},
		"descent": {snap: with(Info{Pid: 21, PPid: 20, Group: 21, Session: 21, Start: 101}, Info{Pid: 22, PPid: 21, Group: 22, Session: 22, Start: 102}), want: []int{20, 21, 22}},
		"mark":    {snap: with(Info{Pid: 21, PPid: 1, Start: 101}, Info{Pid: 22, PPid: 21, Start: 102}).env(21, "A=b\x00HOB_ID=m\x00"), want: []int{20, 21, 22}},
		"another's mark": {
			snap: with(Info{Pid: 21, PPid: 1, Start: 101}, Info{Pid: 22, PPid: 1, Start: 101}).env(21, "HOB_ID=m2\x00").env(22, "A=HOB_ID=m\x00"), want: []int{20},
		},
		"holder": {snap: with(Info{Pid: 21, PPid: 1, Start: 101}).files(21, holder), want: []int{20, 21}},
		"zombies are none": {
			snap: with(Info{Pid: 21, PPid: 20, Group: 20, Start: 101, State: 'Z', Threads: 1}), want: []int{20},
		},
		"older than the leader": {snap: with(Info{Pid: 21, PPid: 1, Start: 99}).files(21, holder), want: []int{20}},
		"group number used again": {
			snap: newFake(Info{Pid: 20, PPid: 1, Group: 20, Session: 20, Start: 200}, Info{Pid: 21, PPid: 20, Group: 20, Session: 20, Start: 201}),
			want: []int{}, unpinned: true, apart: true,
		},
		"leader gone, group pinned": {snap: newFake(Info{Pid: 21, PPid: 1, Group: 20, Session: 20, Start: 101}), want: []int{21}},
		"the caller": {
			snap: with(Info{Pid: 10, PPid: 20, Start: 110}, Info{Pid: 30, PPid: 10, Start: 111}, Info{Pid: 31, PPid: 20, Start: 111}),
			want: []int{31}, apart: true, // 20 is its ancestor
		},
		"the caller as a holder": {snap: with().files(10, holder), want: []int{20}},
		"daemon": {
			snap: with(Info{Pid: 21, PPid: 20, Start: 101}, Info{Pid: 22, PPid: 21, Start: 102}, Info{Pid: 23, PPid: 22, Start: 103}, Info{Pid: 24, PPid: 21, Start: 102}).
				files(22, lock).files(23, holder), want: []int{20, 21, 24},
		},
		"daemon in the group": {
			snap: with(Info{Pid: 21, PPid: 20, Group: 20, Session: 20, Start: 101}, Info{Pid: 22, PPid: 20, Group: 20, Session: 20, Start: 101}).files(21, lock),
			want: []int{20, 22}, apart: true,
		},
		"the leader is a daemon": {
			snap: with(Info{Pid: 21, PPid: 20, Start: 101}).files(20, lock).files(21, holder), want: []int{20},
		},
		"a starter holds the caller's lock": {
			// Started from inside the tree: client 21 made daemon 10, which made leader 20 again; 10 is not barred by it.
			snap: newFake(leader, Info{Pid: 21, PPid: 1, Start: 100}, Info{Pid: 10, PPid: 21, Start: 100}).files(21, lock).files(10, lock),
			want: []int{20},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, group := c.snap.members(!c.unpinned)
			require.Equal(t, c.want, got)
			require.Equal(t, !c.apart, group)
		})
	}
}

func TestInstanceLockIsKnownByName(t *testing.T) {
	t.Parallel()
	for _, yes := range []string{"/a/instance-0123456789abcdef.lock", "/a/instance-0123456789abcdef.lock (deleted)", "instance-ffffffffffffffff.lock"} {
		require.True(t, isInstanceLock(yes), yes)
	}
	for _, no := range []string{"", "/a/instance-0123456789abcdef", "/a/instance-0123456789abcde.lock", "/a/instance-0123456789abcdeF.lock", "/instance-0123456789abcdef.lock/x", "/a/web.lock"} {
		require.False(t, isInstanceLock(no), no)
	}
}

func TestLooksAreSharedAndNeverOlderThanTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		release := make(chan struct{})
		looks := newShared(func() (int, error) {
			reads++
			n := reads
			<-release
			return n, nil
		})
		var mu sync.Mutex
		got := map[int]int{} // which look answered, how often
		take := func() {
			n, err := looks.take()
			require.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			got[n]++
		}
		go take()
		synctest.Wait() // the first look is under way
		for range 10 {
			go take() // too late for it
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		require.Equal(t, map[int]int{1: 1, 2: 10}, got)
	})
}
