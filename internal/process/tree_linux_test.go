package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReaderOfTheOutputIsNoMember(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	output, err := os.OpenFile(fifo, os.O_RDWR, 0)
	require.NoError(t, err)
	defer output.Close()
	h := holders(t, output)

	reader := grow(t, node{Name: "reader", Hold: fifo}, Spec{})
	writer := start(t, Spec{Output: output}, "sleep", "600")
	tree, err := Remains("").Tree(h)
	require.NoError(t, err)
	require.Len(t, tree, 1)
	require.Equal(t, writer.ID().Pid, tree[0].Pid)
	require.True(t, reader.ID().Alive())
}

// A runtime may mark all that it was started with, so that its own children get nothing of it; Node does.
func TestStrayThatClosesOnExecIsFound(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("no perl: ", err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	output, err := os.OpenFile(fifo, os.O_RDWR, 0)
	require.NoError(t, err)
	defer output.Close()
	p := start(t, Spec{Output: output}, "perl", "-MFcntl", "-e", "fcntl($_, F_SETFD, FD_CLOEXEC) for \\*STDERR, \\*STDOUT; sleep 600")
	eventually(t, func() bool { return closesOnExec(p.ID().Pid, "1") }, "it has marked them")
	tree, err := Remains("").Tree(holders(t, output))
	require.NoError(t, err)
	require.Len(t, tree, 1)
	require.Equal(t, p.ID().Pid, tree[0].Pid)
}

// While this process has another tree's lock open, each child that it forks has it too, until execve.
func TestForkedChildIsNoHolder(t *testing.T) {
	t.Parallel()
	lock := create(t, "web.lock")
	h := holders(t, lock)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "exit"}})
				if err != nil {
					t.Error(err)
					return
				}
				<-p.Done()
				_ = p.Release()
			}
		})
	}
	for range 150 {
		tree, err := Remains("").Tree(h)
		if err != nil || len(tree) > 0 {
			t.Errorf("%v %v", tree, err)
			break
		}
	}
	close(stop)
	wg.Wait()
}

func TestFindMarked(t *testing.T) {
	t.Parallel()
	m := mark(t)
	g := grow(t, node{Name: "leader", Kids: []node{{Name: "kid"}, {Name: "unmarked", NoMark: true}}}, Spec{Mark: m + "/1"})
	other := start(t, Spec{Mark: m + "x"}, "sleep", "600")
	found, err := FindMarked(m + "/")
	require.NoError(t, err)
	var infos []Info
	for _, f := range found {
		require.Equal(t, m+"/1", f.Mark)
		require.Equal(t, g.ids[g.names([]Info{f.Info})[0]], f.ID)
		infos = append(infos, f.Info)
	}
	require.ElementsMatch(t, []string{"leader", "kid"}, g.names(infos))
	require.True(t, other.ID().Alive())
}
