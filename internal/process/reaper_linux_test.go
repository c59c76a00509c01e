package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReaperCollectsStraysAndNoLeaders(t *testing.T) {
	t.Parallel()
	helperUsed.Store("reaper", true)
	cmd := exec.Command(self(t))
	cmd.Env = append(os.Environ(), helperEnv+"=reaper")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "ok", strings.TrimSpace(string(out)))
}

// playReaper is a process of its own, since a subreaper and a Reaper are of the whole process.
func playReaper() {
	must(BecomeSubreaper())
	r := NewReaper()
	resume := r.Pause()

	// A leader that leaves an orphan and exits; the orphan exits after it.
	p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "(exec 0</dev/null; sleep 0.05; exit 9) & exit 3"}})
	must(err)
	<-p.Done()
	poll("a zombie stray", func() bool { return zombies() == 2 })
	check(r.Reap() == 0, "reaped while paused")
	resume()
	resume()
	check(zombies() == 1, "resume did not reap the stray, or reaped the leader")
	check(r.Reap() == 0, "reaped the leader")
	check(p.Exit() == Exit{Code: 3, Known: true}, p.Exit().String())
	must(p.Release())
	check(zombies() == 0, "the leader was not reaped by Release")

	// Let go while it runs: from then on it is a stray.
	p, err = Start(Spec{Path: "/bin/sleep", Args: []string{"sleep", "600"}})
	must(err)
	must(p.Release())
	check(p.ID().Alive(), "Release ended it")
	must(unix.Kill(p.ID().Pid, unix.SIGKILL))
	n := 0
	poll("the end of what was let go", func() bool { n += r.Reap(); return n == 1 })

	// Exits right after exec, failed execs, and a Reaper that never rests: nobody's exit may be lost.
	stop := make(chan struct{})
	var busy, wg sync.WaitGroup
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				r.Reap()
				runtime.Gosched()
			}
		}
	})
	for range 4 {
		wg.Go(func() {
			for range 25 {
				_, err := Start(Spec{Path: "/nonexistent"})
				check(errors.Is(err, os.ErrNotExist), fmt.Sprint(err))
				p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 5"}})
				must(err)
				<-p.Done()
				check(p.Exit() == Exit{Code: 5, Known: true}, p.Exit().String())
				must(p.Release())
			}
		})
	}
	wg.Wait()
	close(stop)
	busy.Wait()
	check(len(children()) == 0, "children are left")
	fmt.Println("ok")
}

func check(ok bool, text string) {
	if !ok {
		must(errors.New(text))
	}
}

func poll(what string, ok func() bool) {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		check(time.Now().Before(deadline), "waited too long for "+what)
	}
}

func zombies() int {
	n := 0
	for _, pid := range children() {
		if info, err := Stat(pid); err == nil && info.Dead() {
			n++
		}
	}
	return n
}

func TestChildrenAreSeenWithAndWithoutTheKernelsList(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sleep", "600")
	require.Contains(t, children(), p.ID().Pid)
	require.Contains(t, childrenByParent(), p.ID().Pid)
}

// The first thread of a process may end before the others; /proc then says Z, and the process is not dead.
func TestLeaderThreadsExitIsNotTheEnd(t *testing.T) {
	t.Parallel()
	helperUsed.Store("unthread", true)
	file := filepath.Join(t.TempDir(), "pid")
	p, err := Start(Spec{Path: self(t), Args: []string{"unthread", file}, Env: append(os.Environ(), helperEnv+"=unthread")})
	require.NoError(t, err)
	t.Cleanup(func() { end(t, p) })
	eventually(t, func() bool { info, err := Stat(p.ID().Pid); return err == nil && info.State == 'Z' }, "first thread never ended")
	require.True(t, p.ID().Alive())
	tree, err := p.Tree(Holders{})
	require.NoError(t, err)
	require.Len(t, tree, 1)
	require.False(t, p.isDone())
	killed, err := p.Terminate(t.Context(), Stop{})
	require.NoError(t, err)
	require.Len(t, killed, 1)
	require.Equal(t, Exit{Signal: unix.SIGKILL, Known: true}, p.Exit())
}

func playUnthread() {
	go func() {
		runtime.LockOSThread() // the only goroutine of a thread that is not the first
		time.Sleep(4 * patience)
	}()
	if unix.Gettid() != unix.Getpid() {
		os.Exit(97) // main runs on the first thread: see lockMain
	}
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

func init() {
	if os.Getenv(helperEnv) == "unthread" {
		runtime.LockOSThread()
	}
}

// TestAloneMeansThatNothingIsLeft, and anything that is left makes it false: an orphan of the leader, or one of another
// tree even.
func TestAloneMeansThatNothingIsLeft(t *testing.T) {
	t.Parallel()
	helperUsed.Store("alone", true)
	cmd := exec.Command(self(t))
	cmd.Env = append(os.Environ(), helperEnv+"=alone")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "ok", strings.TrimSpace(string(out)))
}

// playFree: a stop takes one look where nothing can be left, and sees what was forked after that look.
func playFree(shell func(script string) *Process) {
	looks := 0
	processTable = newShared(func() (*snapshot, error) { looks++; return takeSnapshot() })
	stop := func(p *Process, free bool) (took int) {
		before := looks
		_, err := p.Terminate(context.Background(), Stop{Grace: patience, Free: func() bool { return free }})
		must(err)
		return looks - before
	}
	one, held := shell("exec sleep 600"), shell("exec sleep 600")
	check(stop(one, true) == 1, "more than a look")
	check(stop(held, false) == 3, "not two that find nobody")

	dir, err := os.MkdirTemp("", "hob-free")
	must(err)
	defer os.RemoveAll(dir)
	heir := shell("trap 'sleep 600 & exit 0' TERM; : > " + dir + "/ready; while :; do sleep 0.05; done")
	poll("it has its trap", func() bool { _, err := os.Stat(dir + "/ready"); return err == nil })
	check(stop(heir, true) > 1, "what it left when it went was not looked for")
	left, err := heir.Tree(Holders{})
	must(err)
	check(len(left) == 0, "what it left runs on")
	for _, p := range []*Process{one, held, heir} {
		must(p.Release())
	}
	NewReaper().Reap()
}

func playAlone() {
	shell := func(script string) *Process {
		p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", script}})
		must(err)
		return p
	}
	early := shell("exit 3")
	<-early.Done()
	check(!early.Alone(), "believed without being a subreaper")
	must(BecomeSubreaper())
	check(early.Alone(), "it left nothing")

	running := shell("exec sleep 600")
	check(!running.Alone(), "it runs")
	check(early.Alone(), "another leader is nobody's rest")

	parent := shell("sleep 600 & exit 0")
	<-parent.Done()
	check(!parent.Alone(), "it left an orphan")
	check(!early.Alone(), "nobody can tell whose orphan that is")
	for _, p := range []*Process{parent, running} {
		_, err := p.Terminate(context.Background(), Stop{Signal: unix.SIGKILL})
		must(err)
	}
	r := NewReaper()
	poll("the orphan is reaped", func() bool { r.Reap(); return parent.Alone() })
	check(running.Alone(), "it was ended")
	for _, p := range []*Process{early, parent, running} {
		must(p.Release())
	}
	r.Reap()
	playFree(shell)
	fmt.Println("ok")
}
