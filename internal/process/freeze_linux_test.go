package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// playBusy is a program that never rests: threads that count, each in a file of its own, and if it is told so children that come
// and go. With "term" it ignores TERM.
func playBusy() {
	dir, kind := os.Args[1], os.Args[2]
	if kind == "term" {
		signal.Ignore(unix.SIGTERM)
	}
	for i := range 4 {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("count", os.Getpid(), "-", i)), os.O_CREATE|os.O_RDWR, 0o600)
		must(err)
		go func() {
			for n := 0; ; n++ {
				if _, err := f.WriteAt([]byte(strconv.Itoa(n)), 0); err != nil {
					return
				}
			}
		}()
	}
	if kind == "forks" {
		for {
			pid, err := forkBrief(dir)
			must(err)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}
	select {}
}

// forkBrief starts somebody who writes for a moment and ends.
func forkBrief(dir string) (int, error) {
	p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", `i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo $i >"$0"; done`, filepath.Join(dir, "brief")},
		&os.ProcAttr{Env: os.Environ()})
	if err != nil {
		return 0, err
	}
	return p.Pid, nil
}

// inMemory is a directory in which a write does not wait for a disk: who is in one counts as standing still, and completes it afterwards.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "hob-process-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func startBusy(t *testing.T, kind string) (p *Process, dir string) {
	t.Helper()
	helperUsed.Store("busy", true)
	dir = inMemory(t)
	p, err := Start(Spec{Path: self(t), Args: []string{"busy", dir, kind}, Env: append(os.Environ(), helperEnv+"=busy"), Mark: "test/" + strings.ReplaceAll(dir, "/", "_") + "/1"})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, _ = p.Terminate(context.Background(), Stop{Signal: unix.SIGKILL})
		end(t, p)
	})
	eventually(t, func() bool { m, _ := filepath.Glob(dir + "/count*"); return len(m) == 4 }, "its threads")
	return p, dir
}

// written is all that the files of a directory hold.
func written(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	text := ""
	for _, path := range all {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		text += path + "=" + string(b) + "\n"
	}
	return text
}

// TestFrozenTreeStandsStill: no thread of it does anything, and nobody whom it was about to fork; and it goes on afterwards.
func TestFrozenTreeStandsStill(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"", "forks"} {
		p, dir := startBusy(t, kind)
		for range 25 {
			f, err := p.Freeze(context.Background(), Holders{})
			require.NoError(t, err)
			before := written(t, dir)
			for range 50 {
				require.Equal(t, before, written(t, dir))
			}
			f.Thaw()
			f.Thaw()
			eventually(t, func() bool { return written(t, dir) != before }, "it goes on")
		}
	}
}

// TestThawLeavesAloneWhoWasStoppedBefore: by somebody else.
func TestThawLeavesAloneWhoWasStoppedBefore(t *testing.T) {
	t.Parallel()
	g := grow(t, node{Name: "leader", Kids: []node{{Name: "kid", Setsid: true}}}, Spec{Mark: "test/thaw/1"})
	kid, err := openHandle(g.ids["kid"].Pid)
	require.NoError(t, err)
	defer kid.close()
	require.NoError(t, kid.signal(unix.SIGSTOP))
	state := func(name string) byte {
		info, err := Stat(g.ids[name].Pid)
		require.NoError(t, err)
		return info.State
	}
	eventually(t, func() bool { return state("kid") == 'T' }, "the kid is stopped")
	f, err := g.Freeze(context.Background(), Holders{})
	require.NoError(t, err)
	require.Equal(t, byte('T'), state("leader"))
	f.Thaw()
	eventually(t, func() bool { return state("leader") != 'T' }, "the leader goes on")
	require.Equal(t, byte('T'), state("kid"))
	require.NoError(t, kid.signal(unix.SIGCONT))
}

// TestFrozenTreeIsEnded: TERM is the next thing that it meets, and one with the default action ends it before another instruction of its own.
func TestFrozenTreeIsEnded(t *testing.T) {
	t.Parallel()
	for range 20 {
		out := filepath.Join(inMemory(t), "out")
		p := start(t, Spec{}, "sh", "-c", `while :; do echo x >>"$0"; done`, out)
		eventually(t, func() bool { fi, err := os.Stat(out); return err == nil && fi.Size() > 0 }, "it writes")
		f, err := p.Freeze(context.Background(), Holders{})
		require.NoError(t, err)
		before, err := os.Stat(out)
		require.NoError(t, err)
		killed, err := p.Terminate(context.Background(), Stop{Grace: patience, Frozen: f})
		require.NoError(t, err)
		require.Empty(t, killed)
		after, err := os.Stat(out)
		require.NoError(t, err)
		require.Equal(t, before.Size(), after.Size())
		require.Equal(t, unix.SIGTERM, p.Exit().Signal)
	}
}

// TestSparedAsLongAsItServes: a tree that ignores TERM is not killed as long as somebody is served, is asked about while it stands still, and
// is killed then; one that leaves meanwhile is not; and who has no more patience kills it all the same.
func TestSparedAsLongAsItServes(t *testing.T) {
	t.Parallel()
	p, dir := startBusy(t, "term")
	var asked atomic.Int32
	killed, err := p.Terminate(context.Background(), Stop{Grace: time.Millisecond, Spare: func() bool {
		before := written(t, dir)
		for range 20 {
			if written(t, dir) != before {
				t.Error("it does not stand still")
			}
		}
		return asked.Add(1) < 4
	}})
	require.NoError(t, err)
	require.Len(t, killed, 1)
	require.EqualValues(t, 4, asked.Load())

	p, _ = startBusy(t, "term")
	killed, err = p.Terminate(context.Background(), Stop{Grace: time.Millisecond, Spare: func() bool {
		_ = p.Signal(unix.SIGINT) // as if it left by itself
		return true
	}})
	require.NoError(t, err)
	require.Empty(t, killed)

	p, _ = startBusy(t, "term")
	ctx, cancel := context.WithCancel(context.Background())
	killed, err = p.Terminate(ctx, Stop{Grace: time.Millisecond, Spare: func() bool { cancel(); return true }})
	require.NoError(t, err)
	require.Len(t, killed, 1)
}
