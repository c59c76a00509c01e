package sdnotify

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func listen(t *testing.T, path string) *Socket {
	s, err := Listen(path)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// place is a path short enough for a socket, wherever the tests run.
func place(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "sn")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "web")
}

// send is what a service does: a datagram to the address, from a socket of its own.
func send(t *testing.T, addr, text string, oob ...byte) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Sendmsg(fd, []byte(text), oob, &unix.SockaddrUnix{Name: addr}, 0))
}

func next(t *testing.T, s *Socket) Message {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := s.Next(ctx)
	require.NoError(t, err)
	return m
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for text, want := range map[string]Message{
		"READY=1":                              {Ready: true},
		"READY=1\n":                            {Ready: true},
		"READY=0":                              {},
		"READY":                                {},
		" READY=1":                             {},
		"ready=1":                              {},
		"STATUS=a=b c\nREADY=1\nX=y":           {Ready: true, Status: "a=b c"},
		"STOPPING=1\nRELOADING=1":              {Stopping: true, Reloading: true},
		"EXTEND_TIMEOUT_USEC=1500000":          {Extend: 1500 * time.Millisecond},
		"EXTEND_TIMEOUT_USEC=7200000000":       {Extend: 2 * time.Hour},
		"EXTEND_TIMEOUT_USEC=-1":               {},
		"EXTEND_TIMEOUT_USEC=99999999999999":   {},
		"":                                     {},
		"\n\n=\n==\n\x00":                      {},
		"STATUS=\x1b[31mred\x1b[0m\ttab":       {Status: "\uFFFD[31mred\uFFFD[0m\uFFFDtab"},
		"STATUS=bad \xff\xc3 text":             {Status: "bad  text"},
		"STATUS=" + long:                       {Status: long[:maxStatus]},
		"BARRIER=1":                            {},
		"FDSTORE=1\nFDNAME=x\nMAINPID=1\nA=\"": {},
	} {
		require.Equal(t, want, Parse([]byte(text)), "%.40q", text)
	}
}

// FuzzParse: whatever a service says, a short status that a terminal can show, and each word only where it says it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"READY=1\nSTATUS=x\x00\xff\nEXTEND_TIMEOUT_USEC=5", "", "READY=1\nREADY=0", "STATUS=\x1b]0;title\a\u202e", "STATUS=" + strings.Repeat("é", maxStatus),
		"EXTEND_TIMEOUT_USEC=18446744073709551616", "MAINPID=1\nFDSTORE=1\nBARRIER=1", "RELOADING=1\nMONOTONIC_USEC=1\nSTOPPING=1", "READY=1\x00STOPPING=1", "=\n==",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := Parse(b)
		require.LessOrEqual(t, len(m.Status), 3*maxStatus)
		require.True(t, utf8.ValidString(m.Status))
		require.Less(t, strings.IndexFunc(m.Status, func(r rune) bool { return !unicode.IsPrint(r) && r != '\uFFFD' }), 0, "%q", m.Status)
		require.True(t, m.Extend >= 0 && m.Extend <= time.Duration(1<<32)*time.Microsecond, "%v", m.Extend)
		lines := strings.Split(string(b), "\n")
		require.Equal(t, slices.Contains(lines, "READY=1"), m.Ready)
		require.Equal(t, slices.Contains(lines, "RELOADING=1"), m.Reloading)
		require.Equal(t, slices.Contains(lines, "STOPPING=1"), m.Stopping)
		require.Equal(t, m, Parse(append(b[:len(b):len(b)], "\nNONSENSE=1"...)))
	})
}

func TestMessagesArriveInOrder(t *testing.T) {
	s := listen(t, place(t))
	fi, err := os.Stat(s.Addr())
	require.NoError(t, err)
	require.EqualValues(t, 0o600, fi.Mode().Perm())
	for _, text := range []string{"STATUS=one", "STATUS=two", "READY=1"} {
		send(t, s.Addr(), text)
	}
	require.Equal(t, "one", next(t, s).Status)
	require.Equal(t, "two", next(t, s).Status)
	require.True(t, next(t, s).Ready)
}

// TestHarmlessMessages: empty, large, with more descriptors than anybody needs. They say what they say.
func TestHarmlessMessages(t *testing.T) {
	s := listen(t, place(t))
	send(t, s.Addr(), strings.Repeat("A=b\n", 10_000)+"READY=1")
	require.True(t, next(t, s).Ready)
	send(t, s.Addr(), "\x00")
	require.Equal(t, Message{}, next(t, s))
}

// TestDescriptorsAreClosed: also those that are sent to be stored, and the one of a barrier, whose sender waits for that.
func TestDescriptorsAreClosed(t *testing.T) {
	s := listen(t, place(t))
	for range 50 {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		send(t, s.Addr(), "BARRIER=1", unix.UnixRights(int(w.Fd()), int(w.Fd()))...)
		w.Close()
		next(t, s)
		require.NoError(t, r.SetReadDeadline(time.Now().Add(time.Minute)))
		_, err = r.Read(make([]byte, 1))
		require.ErrorContains(t, err, "EOF")
		r.Close()
	}
}

// TestSuccessorHasTheSamePath: a service goes on with the address that it was given, whoever listens.
func TestSuccessorHasTheSamePath(t *testing.T) {
	for name, path := range map[string]string{"a path": place(t), "too long for an address": filepath.Join(t.TempDir(), strings.Repeat("d", 60), strings.Repeat("n", 64))} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			first, err := Listen(path)
			require.NoError(t, err)
			addr := first.Addr()
			require.LessOrEqual(t, len(addr), maxPath)
			require.NoError(t, first.conn.Close()) // as if it had been killed
			second := listen(t, path)
			require.Equal(t, addr, second.Addr())
			send(t, addr, "READY=1")
			require.True(t, next(t, second).Ready)
		})
	}
}

// TestCloseRemovesOnlyItsOwn file.
func TestCloseRemovesOnlyItsOwn(t *testing.T) {
	path := place(t)
	first := listen(t, path)
	second := listen(t, path)
	require.NoError(t, first.Close())
	send(t, path, "READY=1")
	require.True(t, next(t, second).Ready)
	require.NoError(t, second.Close())
	require.NoFileExists(t, path)
	_, err := second.Next(t.Context())
	require.ErrorIs(t, err, net.ErrClosed)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestNextEndsWithItsContext(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := listen(t, place(t))
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	_, err := s.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	send(t, s.Addr(), "READY=1")
	require.True(t, next(t, s).Ready, "and the next call works")
}

// TestAnotherUsersMessagesAreDropped where this one may pretend to be another.
func TestAnotherUsersMessagesAreDropped(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can name another sender")
	}
	s := listen(t, place(t))
	send(t, s.Addr(), "STATUS=root", syscall.UnixCredentials(&syscall.Ucred{Pid: int32(os.Getpid()), Uid: 0, Gid: 0})...)
	require.Equal(t, "root", next(t, s).Status)
	send(t, s.Addr(), "STATUS=other", syscall.UnixCredentials(&syscall.Ucred{Pid: int32(os.Getpid()), Uid: 12345, Gid: 12345})...)
	send(t, s.Addr(), "STATUS=mine")
	require.Equal(t, "mine", next(t, s).Status)
}

// TestSenderReachesItsManager: by a path of any length, and by an abstract name. What one assignment says is not another one.
func TestSenderReachesItsManager(t *testing.T) {
	deep := filepath.Join(filepath.Dir(place(t)), strings.Repeat("d", 120))
	require.NoError(t, os.Mkdir(deep, 0o700))
	for _, path := range []string{place(t), filepath.Join(deep, "s")} {
		s := listen(t, path)
		sender := NewSender(s.Addr())
		require.NoError(t, sender.Send("READY=1", "STATUS=two services\nSTOPPING=1"))
		m := next(t, s)
		require.True(t, m.Ready)
		require.False(t, m.Stopping)
		require.Equal(t, "two services STOPPING=1", m.Status)
	}
	require.Error(t, NewSender("/nonexistent/socket").Send("READY=1"))
	for _, nobody := range []string{"", "relative", "/", "@", "vsock:2:1"} {
		require.NoError(t, NewSender(nobody).Send("READY=1"), nobody)
	}
}
