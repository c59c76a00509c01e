package hob

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/process"
)

// ownState is an instance with a state directory of this test's.
func ownState(t *testing.T) instance.Instance {
	t.Helper()
	root, err := instance.OpenRoot(t.TempDir())
	require.NoError(t, err)
	i, err := instance.New(root, "")
	require.NoError(t, err)
	i.State = filepath.Join(t.TempDir(), "state")
	return i
}

// TestSlowDaemonLeavesByItself: one that takes its time to answer is asked with as much patience as any other client has, and not ended.
func TestSlowDaemonLeavesByItself(t *testing.T) {
	t.Parallel()
	i := ownState(t)
	state, err := i.OpenState(true)
	require.NoError(t, err)
	defer state.Close()
	dir, err := i.OpenDir(state, true)
	require.NoError(t, err)
	defer dir.Close()
	l, err := net.Listen("unix", i.Path(instance.SocketName))
	require.NoError(t, err)
	defer l.Close()
	var m ipc.Mux
	probe.HelloMethod.Bind(&m, func(_ context.Context, h probe.Hello) (probe.HelloReply, error) {
		time.Sleep(4 * time.Second)
		return probe.HelloReply{Welcome: &probe.Welcome{Protocol: 1, Pid: os.Getpid(), ID: i.ID, Root: h.Root}}, nil
	})
	probe.RetireMethod.Bind(&m, func(context.Context, probe.Retire) (probe.RetireReply, error) { return probe.RetireReply{}, nil })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		conn := ipc.NewConn(context.Background(), c, ipc.ConnOptions{Handler: func(ctx context.Context, _ *ipc.Conn, r *ipc.Request) (any, error) {
			return m.Handle(ctx, r.Method, r.Params)
		}})
		<-conn.Done()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.True(t, askToLeave(ctx, i))
}

// TestWhoHasGoneMeanwhileIsEvicted: a daemon that ends between the look at it and the first signal is what was wanted.
func TestWhoHasGoneMeanwhileIsEvicted(t *testing.T) {
	t.Parallel()
	sleep := exec.Command("sleep", "1000")
	require.NoError(t, sleep.Start())
	id, err := process.Identify(sleep.Process.Pid)
	require.NoError(t, err)
	p, err := process.Adopt(id, "")
	require.NoError(t, err)
	defer p.Release()
	require.NoError(t, sleep.Process.Kill())
	require.Error(t, sleep.Wait())
	require.NoError(t, evict(t.Context(), ownState(t), p, 1))
}
