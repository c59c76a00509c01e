package process

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLeaderStaysZombieUntilRelease(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sh", "-c", "exit 3")
	pid := p.ID().Pid
	waitDone(t, p)
	require.Equal(t, Exit{Code: 3, Known: true}, p.Exit())
	require.Equal(t, "exit 3", p.Exit().String())
	info, err := Stat(pid)
	require.NoError(t, err)
	require.Equal(t, byte('Z'), info.State)
	require.False(t, p.ID().Alive())
	require.NoError(t, p.SignalGroup(unix.SIGTERM), "its group is there, and empty of the living")

	require.NoError(t, p.Release())
	require.NoError(t, p.Release())
	_, err = Stat(pid)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, p.Signal(unix.SIGTERM), os.ErrProcessDone)
	require.ErrorIs(t, p.SignalGroup(unix.SIGTERM), os.ErrProcessDone)
	require.Equal(t, Exit{Code: 3, Known: true}, p.Exit())
}

func TestExitNamesTheSignal(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sleep", "600")
	require.Equal(t, Exit{}, p.Exit())
	require.NoError(t, p.Signal(unix.SIGKILL))
	waitDone(t, p)
	require.Equal(t, Exit{Signal: unix.SIGKILL, Known: true}, p.Exit())
	require.Equal(t, "killed by SIGKILL", p.Exit().String())
	require.Equal(t, "exit unknown", Exit{}.String())
	require.Equal(t, "killed by signal 40", Exit{Signal: 40, Known: true}.String())
}

// Release just after the exit, before anybody looked, must not lose the status.
func TestReleaseKeepsTheExit(t *testing.T) {
	t.Parallel()
	for range 50 {
		p := start(t, Spec{}, "sh", "-c", "exit 7")
		eventually(t, func() bool { info, err := Stat(p.ID().Pid); return err == nil && info.Dead() }, "no exit")
		require.NoError(t, p.Release())
		waitDone(t, p)
		require.Equal(t, Exit{Code: 7, Known: true}, p.Exit())
	}
}

func TestReleaseLetsALiveLeaderGo(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sleep", "600")
	require.NoError(t, p.Release())
	require.True(t, p.ID().Alive())
	require.False(t, leaders.has(p.ID().Pid))
	require.ErrorIs(t, p.Signal(unix.SIGTERM), os.ErrProcessDone, "what was let go is not signalled through p")
	// It may be taken up again.
	again, err := Adopt(p.ID(), "")
	require.NoError(t, err)
	end(t, again)
	require.True(t, again.Exit().Known)
}

func TestAdoptTakesNoOther(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sleep", "600")
	id := p.ID()
	for name, wrong := range map[string]ID{
		"start":  {Pid: id.Pid, Start: id.Start + 1, Boot: id.Boot},
		"boot":   {Pid: id.Pid, Start: id.Start, Boot: "another"},
		"zero":   {},
		"group":  {Pid: -id.Pid, Start: id.Start, Boot: id.Boot},
		"thread": {Pid: unix.Gettid() + 1<<22, Start: id.Start, Boot: id.Boot},
	} {
		require.False(t, wrong.Alive(), name)
		_, err := Adopt(wrong, "")
		require.ErrorIs(t, err, os.ErrProcessDone, name)
	}
	own, err := Identify(os.Getpid())
	require.NoError(t, err)
	_, err = Adopt(own, "")
	require.ErrorContains(t, err, "it is this process")
	require.True(t, id.Alive())
}

func TestAdoptTakesOurZombieChild(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sh", "-c", "exit 6")
	waitDone(t, p)
	// As after an exec: the same child, nothing known of it. p keeps it from being reaped by others.
	again, err := Adopt(p.ID(), "")
	require.NoError(t, err)
	waitDone(t, again)
	require.Equal(t, Exit{Code: 6, Known: true}, again.Exit())
	require.NoError(t, again.Release())
	_, err = Adopt(p.ID(), "")
	require.ErrorIs(t, err, os.ErrProcessDone)
}

// stranger returns an adopted process that is not our child. Its parent reaps it or not.
func stranger(t *testing.T, parentReaps bool) *Process {
	t.Helper()
	g := grow(t, node{Name: "parent", NoReap: !parentReaps, Kids: []node{{Name: "kid", Exit: 7, Setsid: true}}}, Spec{})
	p, err := Adopt(g.ids["kid"], "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Release()) })
	return p
}

func TestAdoptedStrangersExitIsKnownWhileItIsAZombie(t *testing.T) {
	t.Parallel()
	p := stranger(t, false)
	require.NoError(t, p.Signal(unix.SIGUSR1))
	waitDone(t, p)
	require.Equal(t, Exit{Code: 7, Known: true}, p.Exit())
	// And then nobody may take it up who is not its parent.
	_, err := Adopt(p.ID(), "")
	require.ErrorIs(t, err, os.ErrProcessDone)
}

func TestAdoptedStrangersExitIsKnownAfterItWasReaped(t *testing.T) {
	t.Parallel()
	needExitInfo(t)
	for sig, want := range map[unix.Signal]Exit{
		unix.SIGUSR1: {Code: 7, Known: true},
		unix.SIGKILL: {Signal: unix.SIGKILL, Known: true},
	} {
		p := stranger(t, true)
		h, err := openHandle(p.ID().Pid)
		require.NoError(t, err)
		require.NoError(t, p.Signal(sig))
		waitDone(t, p)
		require.Equal(t, want, p.Exit())
		eventually(t, func() bool { _, err := Stat(p.ID().Pid); return err != nil }, "never reaped")
		require.Equal(t, want, h.status(p.ID()), "from the pidfd alone")
		h.close()
	}
}

// An orphan belongs to init, which may reap at once or much later.
func TestAdoptedOrphansExitIsKnown(t *testing.T) {
	t.Parallel()
	needExitInfo(t)
	g := grow(t, node{Name: "leader", Kids: []node{{Name: "orphan", Exit: 11, Orphan: true, Setsid: true}}}, Spec{})
	p, err := Adopt(g.ids["orphan"], "")
	require.NoError(t, err)
	require.NoError(t, p.Signal(unix.SIGUSR1))
	waitDone(t, p)
	require.Equal(t, Exit{Code: 11, Known: true}, p.Exit())
	require.NoError(t, p.Release())
}

// needExitInfo skips where the kernel does not tell the exit of a process that was reaped.
func needExitInfo(t *testing.T) {
	t.Helper()
	var name unix.Utsname
	require.NoError(t, unix.Uname(&name))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	require.NoError(t, err)
	if major < 6 || major == 6 && minor < 15 {
		t.Skip("needs Linux 6.15")
	}
}

func TestSignalGroupReachesTheGroupOfAReapedLeader(t *testing.T) {
	t.Parallel()
	// The leader of the group is not our child, exits and is reaped; its kid stays in the group.
	g := grow(t, node{Name: "parent", Kids: []node{
		{Name: "leader", Setsid: true, Kids: []node{{Name: "kid", IgnoreTerm: true}}},
	}}, Spec{})
	p, err := Adopt(g.ids["leader"], "")
	require.NoError(t, err)
	defer p.Release()
	require.NoError(t, p.Signal(unix.SIGUSR1))
	waitDone(t, p)
	eventually(t, func() bool { _, err := Stat(p.ID().Pid); return err != nil }, "never reaped")
	if p.h.send(0, unix.PIDFD_SIGNAL_PROCESS_GROUP) == unix.EINVAL {
		t.Skip("needs Linux 6.9")
	}
	tree, err := p.Tree(Holders{})
	require.NoError(t, err)
	require.Equal(t, []string{"kid"}, g.names(tree))
	killed, err := p.Terminate(t.Context(), Stop{})
	require.NoError(t, err)
	require.Equal(t, []string{"kid"}, g.names(killed))
	require.True(t, g.ids["parent"].Alive())
	eventually(t, func() bool { return p.SignalGroup(0) != nil }, "the group never emptied")
	require.ErrorIs(t, p.SignalGroup(unix.SIGTERM), os.ErrProcessDone)
	tree, err = p.Tree(Holders{})
	require.NoError(t, err)
	require.Empty(t, tree)
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sleep", "600")
	id, err := Identify(p.ID().Pid)
	require.NoError(t, err)
	require.Equal(t, p.ID(), id)
	require.True(t, id.Alive())
	end(t, p)
	_, err = Identify(p.ID().Pid)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.False(t, id.Alive())
	_, err = Identify(unix.Gettid())
	if unix.Gettid() != os.Getpid() {
		require.ErrorIs(t, err, os.ErrNotExist, "a thread is no process")
	}
	boot, err := BootID()
	require.NoError(t, err)
	require.Equal(t, boot, id.Boot)
	ns, err := PidNamespace()
	require.NoError(t, err)
	link, err := os.Readlink("/proc/self/ns/pid")
	require.NoError(t, err)
	require.Equal(t, "pid:["+strconv.FormatUint(ns, 10)+"]", link)
}

// TestExitOfAZombieIsKnown without being its parent: from what the kernel shows of it until it is reaped.
func TestExitOfAZombieIsKnown(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]Exit{
		"exit 0": {Known: true}, "exit 7": {Code: 7, Known: true}, "kill -KILL $$": {Signal: unix.SIGKILL, Known: true},
	} {
		p := start(t, Spec{}, "sh", "-c", script)
		<-p.Done()
		require.Equal(t, want, p.ID().Exit(), script)
		require.NoError(t, p.Release())
		require.Equal(t, Exit{}, p.ID().Exit(), "%s, reaped", script)
	}
	require.Equal(t, Exit{}, start(t, Spec{}, "sleep", "600").ID().Exit(), "it runs")
}
