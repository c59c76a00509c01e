package sockets

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv("HOB_SOCKETS_LISTEN"); addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString(l.Addr().String() + "\n")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the test ends, whatever becomes of it
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func listen(t *testing.T, network, addr string) net.Listener {
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skip("cannot listen there: ", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestListenersAreFoundByEveryAddressTheyAnswer(t *testing.T) {
	for bound, yes := range map[string][]string{
		"127.0.0.1:0": {"127.0.0.1", "localhost", "", "0.0.0.0"},
		"0.0.0.0:0":   {"127.0.0.1", "localhost", "", "10.1.2.3"},
		"[::1]:0":     {"[::1]", "", "[::]"},
		"[::]:0":      {"[::1]", "127.0.0.1", "localhost", ""},
	} {
		network := "tcp"
		if strings.HasPrefix(bound, "0.0") {
			network = "tcp4"
		}
		l := listen(t, network, bound)
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		for _, host := range yes {
			found, err := Listeners(host + ":" + port)
			require.NoError(t, err)
			require.Len(t, found, 1, "%s is bound, look at %s", bound, host)
			require.Equal(t, os.Geteuid(), found[0].UID)
		}
		if bound == "127.0.0.1:0" {
			found, err := Listeners("[::1]:" + port)
			require.NoError(t, err)
			require.Empty(t, found)
		}
	}
}

func TestConnectionsAreNoListeners(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	found, err := Listeners(l.Addr().String())
	require.NoError(t, err)
	require.Len(t, found, 1)
	l.Close()
	found, err = Listeners(l.Addr().String())
	require.NoError(t, err)
	require.Empty(t, found)
}

// child is a process that listens, until the test ends, and inherits files.
func child(t *testing.T, files ...*os.File) (pid int, addr string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HOB_SOCKETS_LISTEN=127.0.0.1:0")
	cmd.ExtraFiles = files
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		require.NoError(t, cmd.Wait())
	})
	buf := make([]byte, 100)
	n, err := stdout.Read(buf)
	require.NoError(t, err)
	return cmd.Process.Pid, strings.TrimSpace(string(buf[:n]))
}

func TestHoldersNamesTheProcess(t *testing.T) {
	pid, addr := child(t)
	found, err := Listeners(addr)
	require.NoError(t, err)
	require.Len(t, found, 1)
	comm, err := os.ReadFile("/proc/self/comm") // it is the same program
	require.NoError(t, err)
	require.Equal(t, []Holder{{Pid: pid, Command: strings.TrimSpace(string(comm))}}, Holders(found))
	require.Empty(t, Holders([]Listener{{Inode: 1 << 60}}))
	require.Empty(t, Holders(nil))
}

func TestBadAddresses(t *testing.T) {
	for _, addr := range []string{"", "80", "host", "127.0.0.1:http", "127.0.0.1:70000", "127.0.0.1:-1", "no.such.host.invalid:80"} {
		_, err := Listeners(addr)
		require.Error(t, err, addr)
	}
}

func TestParseAddr(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000:0016":                         "0.0.0.0:22",
		"00000000000000000000000001000000:1F90": "[::1]:8080",
		"0000000000000000FFFF00000100007F:1F90": "127.0.0.1:8080",
	} {
		got, err := parseAddr(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got.String())
	}
	for _, bad := range []string{"", "xyz:1", "0100007F", "01:1F90", "0100007F:zz"} {
		_, err := parseAddr(bad)
		require.Error(t, err, bad)
	}
}

// TestOwnFindsWhereAProcessListens: what it made first comes first, connections and sockets without a path are not among them, and an address that is
// every one is one to connect to.
func TestOwnFindsWhereAProcessListens(t *testing.T) {
	before, err := Own([]int{os.Getpid()})
	require.NoError(t, err)
	one := listen(t, "tcp", "127.0.0.1:0")
	path := t.TempDir() + "/a socket"
	listen(t, "unix", path)
	every := listen(t, "tcp4", "0.0.0.0:0")
	listen(t, "unix", "@hob-own-test-"+one.Addr().String())
	c, err := net.Dial("tcp", one.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, port, err := net.SplitHostPort(every.Addr().String())
	require.NoError(t, err)
	all, err := Own([]int{os.Getpid(), -1})
	require.NoError(t, err)
	var made []Place
	for _, have := range all {
		if !slices.Contains(before, have) {
			made = append(made, have)
		}
	}
	require.Equal(t, []Place{{Network: "tcp", Addr: one.Addr().String()}, {Network: "unix", Addr: path}, {Network: "tcp", Addr: "127.0.0.1:" + port}}, made)
	none, err := Own(nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// untilLaterThan waits until a process that starts now starts later than that one, which the kernel tells in ticks of the clock.
func untilLaterThan(t *testing.T, pid int) {
	t.Helper()
	info, err := process.Stat(pid)
	require.NoError(t, err)
	for now := (unix.Timespec{}); uint64(now.Nano()/int64(10*time.Millisecond)) <= info.Start; time.Sleep(time.Millisecond) {
		require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
	}
}

// TestHoldersBeginsWithWhoHasItLongest: who has inherited a socket comes after who made it.
func TestHoldersBeginsWithWhoHasItLongest(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	file, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer file.Close()
	var want []int
	for range 3 {
		pid, _ := child(t, file)
		want = append(want, pid)
		untilLaterThan(t, pid)
	}
	found, err := Listeners(l.Addr().String())
	require.NoError(t, err)
	var got []int
	for _, h := range Holders(found) {
		got = append(got, h.Pid)
	}
	require.Equal(t, append([]int{os.Getpid()}, want...), got)
}
