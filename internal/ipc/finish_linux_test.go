package ipc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFinishAnswersWhatWasSent: also what nobody has read when it begins. Who sends later knows that it was not sent.
func TestFinishAnswersWhatWasSent(t *testing.T) {
	t.Parallel()
	client, server := unixPair(t)
	defer client.Close()
	began, end := make(chan struct{}), make(chan struct{})
	c := NewConn(context.Background(), server, ConnOptions{MaxInFlight: 1, Handler: func(_ context.Context, _ *Conn, r *Request) (any, error) {
		if r.Method == "slow" {
			close(began)
			<-end
		}
		return r.Method, nil
	}})
	send := func(method string) error {
		_, err := fmt.Fprintf(client, `{"jsonrpc":"2.0","id":1,"method":%q,"params":[%q]}`+"\n", method, strings.Repeat("x", 3<<10))
		return err
	}
	require.NoError(t, send("slow"))
	<-began
	const calls = 20 // more than what is read ahead
	for range calls {
		require.NoError(t, send("quick"))
	}
	finished := make(chan error, 1)
	go func() { finished <- c.Finish(t.Context()) }()
	close(end)
	answers := bufio.NewReader(client)
	for i := range 1 + calls {
		line, err := answers.ReadString('\n')
		require.NoError(t, err, "answer %d", i)
		require.Contains(t, line, `"result"`)
	}
	_, err := answers.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-finished)
	require.Error(t, send("late"))
	c.Wait()
}
