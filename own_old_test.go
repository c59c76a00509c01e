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
	answerOnce(t, inst)
	_, err := DialConn(t.Context(), inst, &DialOptions{NoSpawn: true})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "no_stream", e.Code)
}

// TestOneThatAnswersInTheEnd was only too slow for the caller's time-out, which is what is said then.
func TestOneThatAnswersInTheEnd(t *testing.T) {
	t.Parallel()
	for _, before := range []probe.Verdict{probe.Unresponsive, probe.Ready, probe.Absent, probe.Draining} {
		inst := Instance{Name: "slow-" + string(before), Dir: t.TempDir()}
		i := answerOnce(t, inst)
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		d := &dialer{inst: i, hello: probe.Hello{Protocol: [2]int{1, 1}, Root: i.Root}, report: probe.Report{Verdict: before}}
		var e *Error
		require.ErrorAs(t, d.explain(ctx, ctx.Err()), &e)
		require.Equal(t, "timeout", e.Code)
		require.Contains(t, e.Message, "it answers only now that the time is over")
		require.Empty(t, e.Hint)
		require.ErrorIs(t, e, context.DeadlineExceeded)
	}
}

// answerOnce answers the first hello to an instance as a daemon from before streams does, until the client hangs up.
func answerOnce(t *testing.T, inst Instance) instance.Instance {
	t.Helper()
	i, err := inst.resolve()
	require.NoError(t, err)
	state, err := i.OpenState(true)
	require.NoError(t, err)
	defer state.Close()
	dir, err := i.OpenDir(state, true)
	require.NoError(t, err)
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
	t.Cleanup(func() {
		require.NoError(t, l.Unpublish())
		require.NoError(t, l.Close())
		require.NoError(t, dir.Close())
		<-ended
	})
	return i
}
