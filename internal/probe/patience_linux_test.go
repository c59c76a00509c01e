package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/process"
)

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, p := WithPatience(t.Context(), 8*time.Second)
		<-ctx.Done()
		require.Equal(t, 8*time.Second, time.Since(began))
		require.Equal(t, context.DeadlineExceeded, context.Cause(ctx))
		p.Reset(time.Second) // brings nothing back
		p.Stop()
		require.Equal(t, context.DeadlineExceeded, context.Cause(ctx))
	})
}

func TestPatienceIsMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, p := WithPatience(t.Context(), 8*time.Second)
		defer p.Stop()
		time.Sleep(6900 * time.Millisecond) // between two ticks
		p.Reset(16 * time.Second)
		<-ctx.Done()
		require.Equal(t, 22900*time.Millisecond, time.Since(began))
	})
}

func TestPatienceStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, p := WithPatience(t.Context(), 8*time.Second)
		p.Stop()
		<-ctx.Done()
		require.Equal(t, context.Canceled, context.Cause(ctx))
	})
}

// playContact says what it finds, as a client would.
func (d daemon) playContact() string {
	c, r := Contact(context.Background(), d.Inst, Hello{Root: d.Inst.Root}, ipc.ConnOptions{})
	if c != nil {
		c.Close()
	}
	return string(r.Verdict)
}

// TestStoppedClientBlamesNobody: Ctrl-Z while the daemon answers, fg a while later: the answer has been there all the time. Eight of them, for it
// is for the scheduler to say which of answer and time is seen first.
func TestStoppedClientBlamesNobody(t *testing.T) {
	t.Parallel()
	inst := newInstance(t)
	l := listen(t, inst)
	reply, err := json.Marshal(HelloReply{Welcome: &Welcome{Protocol: 1, Pid: os.Getpid(), ID: inst.ID, Root: inst.Root}})
	require.NoError(t, err)
	var outs []io.Reader
	var clients []int
	for range 8 {
		outs = append(outs, startClient(t, inst))
		c, err := l.Accept(nil)
		require.NoError(t, err)
		defer c.Close()
		_, err = bufio.NewReader(c).ReadString('\n') // the hello
		require.NoError(t, err)
		creds, err := ipc.PeerCreds(c)
		require.NoError(t, err)
		clients = append(clients, creds.Pid)
		require.NoError(t, unix.Kill(creds.Pid, unix.SIGSTOP))
		require.Eventually(t, func() bool {
			info, err := process.Stat(creds.Pid)
			return err == nil && info.State == 'T'
		}, patience, time.Millisecond)
		_, err = io.WriteString(c, `{"jsonrpc":"2.0","id":0,"result":`+string(reply)+"}\n")
		require.NoError(t, err)
	}
	time.Sleep(helloTimeout + time.Second) // it is time alone that is over then
	for i, pid := range clients {
		require.NoError(t, unix.Kill(pid, unix.SIGCONT))
		said, err := io.ReadAll(outs[i])
		require.NoError(t, err)
		require.Equal(t, string(Ready), strings.TrimSpace(string(said)))
	}
}

func listen(t *testing.T, inst instance.Instance) *ipc.Listener {
	t.Helper()
	state, err := inst.OpenState(true)
	require.NoError(t, err)
	defer state.Close()
	dir, err := inst.OpenDir(state, true)
	require.NoError(t, err)
	t.Cleanup(func() { dir.Close() })
	l, err := ipc.Listen(dir, instance.SocketName)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	require.NoError(t, l.Publish())
	return l
}

// startClient starts a process that plays playContact, and gives what it says.
func startClient(t *testing.T, inst instance.Instance) io.Reader {
	t.Helper()
	config, err := json.Marshal(daemon{Inst: inst, Client: true})
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperVar+"="+string(config), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return out
}
