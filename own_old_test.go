package hob

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
)

// TestDaemonFromBeforeStreams knows nothing of them and welcomes the client to JSON-RPC.
func TestDaemonFromBeforeStreams(t *testing.T) {
	t.Parallel()
	inst := Instance{Name: "old", Dir: t.TempDir()}
	i, err := inst.resolve()
	require.NoError(t, err)
	state, err := i.OpenState(true)
	require.NoError(t, err)
	defer state.Close()
	dir, err := i.OpenDir(state, true)
	require.NoError(t, err)
	defer dir.Close()
	l, err := ipc.Listen(dir, instance.SocketName)
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept(nil)
		if err != nil {
			return
		}
		mux := &ipc.Mux{}
		probe.HelloMethod.Bind(mux, func(_ context.Context, h probe.Hello) (probe.HelloReply, error) {
			return probe.HelloReply{Welcome: &probe.Welcome{Protocol: 1, Root: h.Root}}, nil
		})
		conn := ipc.NewConn(context.Background(), c, ipc.ConnOptions{
			Handler: func(ctx context.Context, _ *ipc.Conn, r *ipc.Request) (any, error) {
				return mux.Handle(ctx, r.Method, r.Params)
			}})
		conn.Wait() // the client closes it
	}()
	require.NoError(t, l.Publish())
	_, err = DialConn(t.Context(), inst, &DialOptions{NoSpawn: true})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "no_stream", e.Code)
	require.NoError(t, l.Unpublish())
	require.NoError(t, l.Close())
	<-ended
}
