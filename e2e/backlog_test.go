//go:build linux

package e2e

import (
	"bufio"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
)

// flood fills the daemon's queue of connections with such that nobody is at the other end of, and returns how many there was room for.
func (w *world) flood() (n int) {
	w.t.Helper()
	for ; ; n++ {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		require.NoError(w.t, err)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: w.inst().Path(instance.SocketName)})
		unix.Close(fd)
		if err == unix.EAGAIN {
			return n
		}
		require.NoError(w.t, err)
	}
}

// TestBackloggedDaemon: hobd stands still and its queue is full. That is said, nothing is started beside it, who waited before is answered when
// it goes on, and who can't wait replaces it without harm to services.
func TestBackloggedDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	pid, service := w.pid(), w.doc(0, "ps", "web").Service.Pid
	w.stop(pid)
	var early []net.Conn
	for range 50 {
		c := w.connect()
		_, err := io.WriteString(c, `{"jsonrpc":"2.0","id":1,"method":"hob.status"}`+"\n")
		require.NoError(t, err)
		early = append(early, c)
	}
	t.Logf("%d connections fill the queue", len(early)+w.flood())
	e := w.failure(124, "daemon", "start", "--timeout=10s")
	require.Equal(t, "timeout", e.Code)
	require.Regexp(t, `its queue of connections is full \(pid \d+ is stopped, state T\)`, e.Message)
	require.Contains(t, e.Hint, "hob daemon restart --force")
	require.Equal(t, "busy", w.doc(1, "daemon", "status").Daemon.State)
	require.EqualValues(t, 1, w.attempts())

	late := make(chan result, 1)
	go func() {
		began, r := time.Now(), w.hob("--json", "daemon", "start")
		for strings.Contains(r.stdout, `"unresponsive"`) && time.Since(began) < patience { // a busy machine takes long for all who came before and have gone
			r = w.hob("--json", "daemon", "start")
		}
		late <- r
	}()
	w.kill(pid, syscall.SIGCONT)
	for _, c := range early {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		line, err := bufio.NewReader(c).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, `"id":1`)
	}
	require.Zero(t, (<-late).code)
	require.Equal(t, pid, w.pid())

	w.stop(pid)
	w.flood()
	w.ok("daemon", "restart", "--force")
	require.NotEqual(t, pid, w.pid())
	require.Equal(t, service, w.doc(0, "ps", "web").Service.Pid)
	require.EqualValues(t, 2, w.attempts())
	require.Len(t, w.marked("web"), 1)
}
