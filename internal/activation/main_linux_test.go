package activation

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const patience = 30 * time.Second

// helperEnv makes the test binary one that has the socket at descriptor 3: it accepts as many connections as the variable
// says, one for each line on its stdin, keeps them, and says so.
const helperEnv = "ACTIVATION_TEST_HELPER"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(helperEnv)); err == nil {
		os.Exit(helper(n))
	}
	goleak.VerifyTestMain(m)
}

func helper(n int) int {
	fmt.Println("ready")
	for range n {
		if _, err := fmt.Scanln(); err != nil {
			return 0
		}
		if _, _, err := unix.Accept(3); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("accepted")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// service is a process that has the socket.
type service struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func serve(t *testing.T, s *Socket) *service {
	t.Helper()
	f, err := s.File()
	require.NoError(t, err)
	defer f.Close()
	v := &service{t: t, cmd: exec.Command(os.Args[0])}
	v.cmd.Env, v.cmd.ExtraFiles = append(os.Environ(), helperEnv+"=100"), []*os.File{f}
	v.in, err = v.cmd.StdinPipe()
	require.NoError(t, err)
	v.out, err = v.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, v.cmd.Start())
	t.Cleanup(v.kill)
	v.expect("ready")
	return v
}

func (v *service) expect(word string) {
	v.t.Helper()
	line := make([]byte, len(word)+1)
	_, err := io.ReadFull(v.out, line)
	require.NoError(v.t, err)
	require.Equal(v.t, word+"\n", string(line))
}

// accept has it accept one connection.
func (v *service) accept() {
	v.t.Helper()
	_, err := io.WriteString(v.in, "\n")
	require.NoError(v.t, err)
	v.expect("accepted")
}

func (v *service) kill() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

// places are an address of each kind, that nobody has.
func places(t *testing.T) map[string][2]string {
	all := map[string][2]string{
		"unix": {"unix", t.TempDir() + "/run/web.sock"},
		"tcp4": {"tcp", port(t, "127.0.0.1")},
		"any":  {"tcp", strings.Replace(port(t, "127.0.0.1"), "127.0.0.1", "0.0.0.0", 1)},
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		all["tcp6"] = [2]string{"tcp", port(t, "[::1]")}
		all["any6"] = [2]string{"tcp", strings.Replace(port(t, "[::1]"), "[::1]", "[::]", 1)}
	}
	return all
}

// port is none of those that port 0 and connect(2) draw from, ip_local_port_range, nor of those of other tests.
func port(t *testing.T, host string) string {
	t.Helper()
	for range 1000 {
		if l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, 10000+rand.IntN(2000))); err == nil {
			require.NoError(t, l.Close())
			return l.Addr().String()
		}
	}
	require.Fail(t, "no port is free")
	return ""
}

// listen binds a socket, which ends with the test.
func listen(t *testing.T, place [2]string) *Socket {
	t.Helper()
	s, err := Listen(place[0], place[1])
	require.NoError(t, err)
	t.Cleanup(s.Release)
	return s
}

// dial connects, and hangs up at the end of the test.
func dial(t *testing.T, s *Socket) net.Conn {
	t.Helper()
	addr := strings.Replace(strings.Replace(s.Addr(), "0.0.0.0", "127.0.0.1", 1), "[::]", "127.0.0.1", 1)
	c, err := net.DialTimeout(s.Network(), addr, patience)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), "it never came: %s", what)
	}
}

// counts waits until the socket has so many connections: what the other side of one does takes effect a little later.
func counts(t *testing.T, s *Socket, want Count) {
	t.Helper()
	var last Count
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n, err := s.Count()
		require.NoError(t, err)
		if last = n; n == want {
			return
		}
		if time.Now().After(end) {
			require.Equal(t, want, last)
		}
	}
}
