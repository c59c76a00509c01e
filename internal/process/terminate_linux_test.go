package process

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mark returns a mark of this test alone.
func mark(t *testing.T) string { return t.Name() + "/" + strconv.Itoa(os.Getpid()) }

func TestTerminateEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	lock := create(t, "web.lock")
	g := grow(t, node{Name: "leader", Kids: []node{
		{Name: "ignores", IgnoreTerm: true},
		{Name: "obeys", Kids: []node{{Name: "setsid", Setsid: true}}},
		{Name: "setsid-ignores", Setsid: true, NoMark: true, IgnoreTerm: true},
		{Name: "marked", Orphan: true, Setsid: true, NoLock: true},
		{Name: "stray", Orphan: true, Setsid: true, NoMark: true, IgnoreTerm: true, Kids: []node{
			{Name: "strays-kid", Setsid: true, NoMark: true, NoLock: true},
		}},
	}}, Spec{Lock: lock, Mark: mark(t)})
	h := holders(t, lock)

	tree, err := g.Tree(h)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"leader", "ignores", "obeys", "setsid", "setsid-ignores", "marked", "stray", "strays-kid"}, g.names(tree))

	// Those who obey are not killed, however long they take.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for _, name := range []string{"leader", "obeys", "setsid", "marked", "strays-kid"} {
			for g.ids[name].Alive() {
				time.Sleep(time.Millisecond)
			}
		}
		cancel()
	}()
	killed, err := g.Terminate(ctx, Stop{Signal: unix.SIGTERM, Grace: patience, Holders: h})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"ignores", "setsid-ignores", "stray"}, g.names(killed))
	for name, id := range g.ids {
		require.False(t, id.Alive(), name)
	}
	require.True(t, g.isDone(), "the leader's end is recorded when Terminate returns")
	require.Equal(t, Exit{Signal: unix.SIGTERM, Known: true}, g.Exit())
	tree, err = g.Tree(h)
	require.NoError(t, err)
	require.Empty(t, tree)
}

func TestTerminateEndsTheRestAfterTheLeadersExit(t *testing.T) {
	t.Parallel()
	g := grow(t, node{Name: "leader", Exit: 4, Kids: []node{
		{Name: "in-group"},
		{Name: "in-session", Orphan: true, NoMark: true},
	}}, Spec{})
	require.NoError(t, g.Signal(unix.SIGUSR1))
	waitDone(t, g.Process)
	tree, err := g.Tree(Holders{})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"in-group", "in-session"}, g.names(tree))
	killed, err := g.Terminate(t.Context(), Stop{Grace: patience})
	require.NoError(t, err)
	require.Empty(t, killed)
	require.False(t, g.ids["in-group"].Alive())
	require.False(t, g.ids["in-session"].Alive())
	require.Equal(t, Exit{Code: 4, Known: true}, g.Exit())
}

// The goroutine that sees the leader's exit may come late; Terminate must not return before the exit is recorded.
func TestTerminateRecordsTheExit(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sh", "-c", "exit 2")
	waitDone(t, p)
	h, err := openHandle(p.ID().Pid)
	require.NoError(t, err)
	defer h.close()
	unwatched := newProcess(p.ID(), "", h)
	_, err = unwatched.Terminate(t.Context(), Stop{Grace: patience})
	require.NoError(t, err)
	require.Equal(t, Exit{Code: 2, Known: true}, unwatched.Exit())
	require.True(t, unwatched.isDone())
}

func TestAnotherInstancesDaemonIsLeftAlone(t *testing.T) {
	t.Parallel()
	lock := create(t, "web.lock")
	daemonKids := []node{{Name: "service", Setsid: true}, {Name: "worker"}}
	for name, daemon := range map[string]node{
		"detached":      {Name: "daemon", Instance: true, Setsid: true, Orphan: true, Kids: daemonKids},
		"in foreground": {Name: "daemon", Instance: true, Kids: daemonKids},
	} {
		t.Run(name, func(t *testing.T) {
			g := grow(t, node{Name: "leader", Kids: []node{daemon, {Name: "kid"}}}, Spec{Lock: lock, Mark: mark(t)})
			killed, err := g.Terminate(t.Context(), Stop{Grace: patience, Holders: holders(t, lock)})
			require.NoError(t, err)
			require.Empty(t, killed)
			require.False(t, g.ids["leader"].Alive())
			require.False(t, g.ids["kid"].Alive())
			// Nor by SIGKILL, which Grace 0 sends to what is found.
			_, err = g.Terminate(t.Context(), Stop{Holders: holders(t, lock)})
			require.NoError(t, err)
			for _, of := range []string{"daemon", "service", "worker"} {
				require.True(t, g.ids[of].Alive(), of)
				killID(g.ids[of])
			}
		})
	}
}

func TestStoppedProcessIsEndedBySignal(t *testing.T) {
	t.Parallel()
	g := grow(t, node{Name: "leader", Kids: []node{{Name: "setsid", Setsid: true}}}, Spec{})
	for _, id := range g.ids {
		require.NoError(t, unix.Kill(id.Pid, unix.SIGSTOP))
		eventually(t, func() bool { info, err := Stat(id.Pid); return err == nil && info.State == 'T' }, "pid %d never stopped", id.Pid)
	}
	killed, err := g.Terminate(t.Context(), Stop{Grace: patience})
	require.NoError(t, err)
	require.Empty(t, killed)
	require.Equal(t, "killed by SIGTERM", g.Exit().String())
	require.False(t, g.ids["setsid"].Alive())
}

func TestCancelEndsTheGrace(t *testing.T) {
	t.Parallel()
	g := grow(t, node{Name: "leader", IgnoreTerm: true}, Spec{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	killed, err := g.Terminate(ctx, Stop{Grace: 24 * time.Hour})
	require.NoError(t, err)
	require.Equal(t, []string{"leader"}, g.names(killed))
	require.Equal(t, Exit{Signal: unix.SIGKILL, Known: true}, g.Exit())
}

// A chain of processes, each of which starts the next one and exits: there is never one that lives long enough to
// be found by one look and signalled after it.
func TestHoppingTreeIsEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "hop")
	count := filepath.Join(dir, "count")
	// It ends by itself when the directory is gone.
	writeProgram(t, script, "#!/bin/sh\ntrap '' TERM\necho x >>"+count+" || exit\n"+script+" &\n")
	p := start(t, Spec{}, script)
	size := func() int64 {
		st, err := os.Stat(count)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	t.Cleanup(func() { _ = unix.Kill(-p.ID().Pid, unix.SIGKILL) })
	eventually(t, func() bool { return size() > 20 }, "does not hop")
	_, err := p.Terminate(t.Context(), Stop{Grace: 20 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, p.Release())
	// A chain that goes on keeps its group for ever; what was killed leaves it when init has reaped it.
	eventually(t, func() bool { return unix.Kill(-p.ID().Pid, 0) == unix.ESRCH }, "it hops on")
}

func TestManyTreesEndAtOnce(t *testing.T) {
	t.Parallel()
	var ps []*Process
	for range 20 {
		ps = append(ps, start(t, Spec{}, "sleep", "600"))
	}
	errs := make(chan error)
	for _, p := range ps {
		go func() {
			_, err := p.Terminate(context.Background(), Stop{Grace: patience})
			errs <- err
		}()
	}
	for range ps {
		require.NoError(t, <-errs)
	}
	for _, p := range ps {
		require.Equal(t, Exit{Signal: unix.SIGTERM, Known: true}, p.Exit())
	}
}

// The permission to signal is the kernel's to give: a member that changed its user can be found and not ended.
func TestWhatOutlivesKillIsNamed(t *testing.T) {
	t.Parallel()
	err := &LeftError{Tree: "pid 7", Left: []Info{{Pid: 8, Command: "postgres", State: 'D'}}, Err: syscall.EPERM}
	require.EqualError(t, err, "end the tree of pid 7: pid 8 (postgres, state D) left after SIGKILL: operation not permitted")
	require.ErrorIs(t, err, os.ErrPermission)
}

func TestRemainsAreFoundByMarkAndLock(t *testing.T) {
	t.Parallel()
	lock := create(t, "web.lock")
	g := grow(t, node{Name: "leader", Kids: []node{
		{Name: "marked", Orphan: true, Setsid: true, NoLock: true},
		{Name: "stray", Orphan: true, Setsid: true, NoMark: true},
	}}, Spec{Lock: lock, Mark: mark(t)})
	require.NoError(t, g.Signal(unix.SIGUSR1))
	waitDone(t, g.Process)
	require.NoError(t, g.Release())

	r := Remains(mark(t))
	require.False(t, r.Exit().Known)
	tree, err := r.Tree(holders(t, lock))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"marked", "stray"}, g.names(tree))
	_, err = r.Terminate(t.Context(), Stop{Grace: patience, Holders: holders(t, lock)})
	require.NoError(t, err)
	require.False(t, g.ids["marked"].Alive())
	require.False(t, g.ids["stray"].Alive())
	require.NoError(t, r.Release())
}

func BenchmarkTerminate100(b *testing.B) {
	for b.Loop() {
		var ps []*Process
		b.StopTimer()
		for range 100 {
			p, err := Start(Spec{Path: "/bin/sleep", Args: []string{"sleep", "600"}})
			require.NoError(b, err)
			ps = append(ps, p)
		}
		b.StartTimer()
		done := make(chan error)
		for _, p := range ps {
			go func() {
				_, err := p.Terminate(context.Background(), Stop{Grace: patience})
				done <- err
			}()
		}
		for range ps {
			require.NoError(b, <-done)
		}
		for _, p := range ps {
			require.NoError(b, p.Release())
		}
	}
}
