package activation

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/sockets"
)

// each runs a test for each kind of address.
func each(t *testing.T, f func(t *testing.T, place [2]string)) {
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) { f(t, place) })
	}
}

// TestConnectionsAreCounted: those that wait, those that were accepted, and not those of which no process has anything any more.
func TestConnectionsAreCounted(t *testing.T) {
	each(t, func(t *testing.T, place [2]string) {
		s := listen(t, place)
		counts(t, s, Count{})
		a, b, c := dial(t, s), dial(t, s), dial(t, s)
		counts(t, s, Count{Waiting: 3})
		v := serve(t, s)
		v.accept()
		counts(t, s, Count{Waiting: 2, Accepted: 1})
		v.accept()
		counts(t, s, Count{Waiting: 1, Accepted: 2})
		// A client that has closed its half waits for its answer; so does, for all one knows, one that has closed all of it.
		require.NoError(t, a.(interface{ CloseWrite() error }).CloseWrite())
		require.NoError(t, b.Close())
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		counts(t, s, Count{Waiting: 1, Accepted: 2})
		require.NoError(t, c.Close()) // it gave up, and nobody knows before it is accepted
		counts(t, s, Count{Waiting: 1, Accepted: 2})
		v.kill()
		counts(t, s, Count{Waiting: 1})
		serve(t, s).accept()
	})
}

// TestOthersAreNotCounted: sockets of the same address elsewhere, the clients' own ends, and those on the same port of another
// address.
func TestOthersAreNotCounted(t *testing.T) {
	s := listen(t, [2]string{"tcp", port(t, "127.0.0.1")})
	_, p, err := net.SplitHostPort(s.Addr())
	require.NoError(t, err)
	other := listen(t, [2]string{"tcp", "127.0.0.2:" + p})
	dial(t, other)
	dial(t, s)
	counts(t, s, Count{Waiting: 1})
	dir := t.TempDir()
	one, two := listen(t, [2]string{"unix", dir + "/a"}), listen(t, [2]string{"unix", dir + "/b"})
	dial(t, one)
	serve(t, two)
	dial(t, two)
	counts(t, one, Count{Waiting: 1})
	counts(t, two, Count{Waiting: 1})
}

// TestTookIsExact: it is seen whether any of those that had waited were accepted, whoever came since.
func TestTookIsExact(t *testing.T) {
	each(t, func(t *testing.T, place [2]string) {
		s := listen(t, place)
		v := serve(t, s)
		dial(t, s)
		dial(t, s)
		counts(t, s, Count{Waiting: 2})
		before, err := s.Queue()
		require.NoError(t, err)
		require.Equal(t, 2, before.Len())
		dial(t, s)
		counts(t, s, Count{Waiting: 3})
		now, err := s.Queue()
		require.NoError(t, err)
		require.False(t, before.Took(now))
		v.accept()
		dial(t, s)
		counts(t, s, Count{Waiting: 3, Accepted: 1})
		now, err = s.Queue()
		require.NoError(t, err)
		require.True(t, before.Took(now), "as many wait as before, and they are others")
		require.False(t, Queue(nil).Took(now))
	})
}

// TestSocketSurvivesItsService: connections wait while there is nobody, and another process serves them; also one that got the socket from
// somebody else.
func TestSocketSurvivesItsService(t *testing.T) {
	each(t, func(t *testing.T, place [2]string) {
		s := listen(t, place)
		serve(t, s).kill()
		c := dial(t, s)
		f, err := s.File()
		require.NoError(t, err)
		defer f.Close()
		again, err := FromFile(f, place[0], place[1])
		require.NoError(t, err)
		s.Close()
		counts(t, again, Count{Waiting: 1})
		v := serve(t, again)
		v.accept()
		v.kill()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
		require.Error(t, err, "it was accepted and its process is gone")
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		again.Release()
	})
}

// TestOnlyItsOwnSocketIsTakenOver: another address, or one that does not listen, is refused.
func TestOnlyItsOwnSocketIsTakenOver(t *testing.T) {
	each(t, func(t *testing.T, place [2]string) {
		s := listen(t, place)
		f, err := s.File()
		require.NoError(t, err)
		defer f.Close()
		wrong := place[1] + "9"
		if place[0] == "tcp" {
			wrong = "127.0.0.3:1"
		}
		_, err = FromFile(f, place[0], wrong)
		require.Error(t, err)
		c := dial(t, s)
		raw, err := c.(interface{ File() (*os.File, error) }).File()
		require.NoError(t, err)
		defer raw.Close()
		_, err = FromFile(raw, place[0], place[1])
		require.ErrorContains(t, err, "does not listen")
	})
}

// TestReleaseFreesTheAddress: although a process still has the socket.
func TestReleaseFreesTheAddress(t *testing.T) {
	each(t, func(t *testing.T, place [2]string) {
		s := listen(t, place)
		serve(t, s)
		s.Release()
		s.Release()
		_, err := net.Dial(place[0], place[1])
		require.Error(t, err)
		if place[0] == "unix" {
			entries, err := os.ReadDir(filepath.Dir(place[1]))
			require.NoError(t, err)
			require.Empty(t, entries)
		}
		next := listen(t, place)
		s.Release() // nothing of the next one
		dial(t, next)
	})
}

// TestTakenNamesTheHolder: and nothing of his is touched.
func TestTakenNamesTheHolder(t *testing.T) {
	each(t, func(t *testing.T, place [2]string) {
		s := listen(t, place)
		v := serve(t, s)
		s.Close() // now it is the other process's alone
		_, err := Listen(place[0], place[1])
		var held *sockets.TakenError
		require.ErrorAs(t, err, &held)
		require.Equal(t, v.cmd.Process.Pid, held.Holder.Pid)
		require.ErrorContains(t, err, "is held by activation.test (pid ")
		if place[0] == "unix" {
			require.ErrorContains(t, err, "unix:"+place[1])
			entries, err := os.ReadDir(filepath.Dir(place[1]))
			require.NoError(t, err)
			require.Len(t, entries, 1)
		}
		v.kill()
		eventually(t, "the address is free", func() bool {
			next, err := Listen(place[0], place[1])
			if err == nil {
				next.Release()
			}
			return err == nil
		})
	})
}

// TestUnixSocketIsItsOwnersAlone: whatever the umask, and at no time another mode; what is at its path and no socket is left alone.
func TestUnixSocketIsItsOwnersAlone(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	s := listen(t, [2]string{"unix", dir + "/a/b/web.sock"})
	for path, mode := range map[string]os.FileMode{s.Addr(): 0o600, dir + "/a": 0o700, dir + "/a/b": 0o700} {
		fi, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, mode, fi.Mode().Perm(), path)
	}
	require.NoError(t, os.WriteFile(dir+"/file", []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(dir+"/file", dir+"/link"))
	for _, path := range []string{dir + "/file", dir + "/link", dir + "/a"} {
		_, err := Listen("unix", path)
		require.ErrorContains(t, err, "is there, and is no socket")
	}
	text, err := os.ReadFile(dir + "/file")
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	_, err = Listen("unix", "/"+string(bytes.Repeat([]byte("x"), 200)))
	require.ErrorContains(t, err, "the path has 201 bytes, and a socket's can have 107")
	_, err = Listen("unix", "web.sock")
	require.ErrorContains(t, err, "not absolute")
	_, err = Listen("udp", "127.0.0.1:1")
	require.ErrorContains(t, err, "not tcp or unix")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
}

// TestServiceGetsABlockingSocket: whatever the last one has made of it.
func TestServiceGetsABlockingSocket(t *testing.T) {
	s := listen(t, [2]string{"unix", t.TempDir() + "/web.sock"})
	require.NoError(t, s.with(func(fd int) error { return unix.SetNonblock(fd, true) }))
	nonblocking := func() bool {
		t.Helper()
		var flags int
		require.NoError(t, s.with(func(fd int) (err error) {
			flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			return err
		}))
		return flags&unix.O_NONBLOCK != 0
	}
	other, err := s.Duplicate()
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.True(t, nonblocking(), "nobody has changed it for the service that runs")
	f, err := s.File()
	require.NoError(t, err)
	defer f.Close()
	require.False(t, nonblocking())
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Zero(t, flags&unix.O_NONBLOCK)
	flags, err = unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)
}

// TestAcceptNeverWaits: for a proxy.
func TestAcceptNeverWaits(t *testing.T) {
	each(t, func(t *testing.T, place [2]string) {
		s := listen(t, place)
		_, err := s.Accept()
		require.ErrorIs(t, err, ErrNone)
		mine := dial(t, s)
		conn, err := s.Accept()
		require.NoError(t, err)
		defer conn.Close()
		_, err = mine.Write([]byte("hello"))
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		got := make([]byte, 5)
		_, err = conn.Read(got)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		_, err = s.Accept()
		require.ErrorIs(t, err, ErrNone)
		s.Close()
		_, err = s.Accept()
		require.ErrorIs(t, err, os.ErrClosed)
	})
}

// TestWithoutDescriptorsAConnectionWaits: also where there is one, and two are needed.
func TestWithoutDescriptorsAConnectionWaits(t *testing.T) {
	s := listen(t, [2]string{"unix", t.TempDir() + "/web.sock"})
	mine := dial(t, s)
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	free, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Close(free))
	for n := range 2 {
		few := unix.Rlimit{Cur: uint64(free + n), Max: was.Max} // the lowest free one, or none
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
		conn, err := s.Accept()
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
		require.ErrorIs(t, err, unix.EMFILE, "%d", n)
		require.Nil(t, conn)
	}
	conn, err := s.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, mine.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = mine.Read(make([]byte, 1))
	require.NoError(t, err)
}

// TestPollerTellsOncePerArm: when a connection comes, at once if one waits, and not after Disarm.
func TestPollerTellsOncePerArm(t *testing.T) {
	p, err := NewPoller()
	require.NoError(t, err)
	defer p.Close()
	s, other := listen(t, [2]string{"unix", t.TempDir() + "/web.sock"}), listen(t, [2]string{"tcp", port(t, "127.0.0.1")})
	var told, told2 atomic.Int64
	tell := func() { told.Add(1) }
	p.Arm(s, tell)
	p.Arm(other, func() { told2.Add(1) })
	require.Zero(t, told.Load())
	dial(t, s)
	eventually(t, "it is told", func() bool { return told.Load() == 1 })
	dial(t, s)
	dial(t, other)
	eventually(t, "the other is told", func() bool { return told2.Load() == 1 })
	require.Equal(t, int64(1), told.Load(), "once armed, once told")
	p.Arm(s, tell)
	eventually(t, "it is told of what waits", func() bool { return told.Load() == 2 })
	for range 2 {
		conn, err := s.Accept()
		require.NoError(t, err)
		conn.Close()
	}
	p.Arm(s, tell)
	p.Arm(s, tell) // in its place
	p.Disarm(s)
	dial(t, s)
	p.Arm(other, func() { told2.Add(1) })
	eventually(t, "the other is told", func() bool { return told2.Load() == 2 })
	require.Equal(t, int64(2), told.Load())
	require.Empty(t, p.armed)
}

// TestPollerArmsInTheEnd: what can't be armed for want of a descriptor is armed when there is one, unless somebody has taken it back.
func TestPollerArmsInTheEnd(t *testing.T) {
	p, err := NewPoller()
	require.NoError(t, err)
	defer p.Close()
	s, back := listen(t, [2]string{"unix", t.TempDir() + "/web.sock"}), listen(t, [2]string{"unix", t.TempDir() + "/back.sock"})
	var told, never atomic.Int64
	p.Arm(s, func() { told.Add(1) }) // and the poller has what it needs
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	none := unix.Rlimit{Cur: 3, Max: was.Max}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	p.Arm(s, func() { told.Add(1) })
	p.Arm(back, func() { never.Add(1) })
	p.Disarm(back)
	p.mu.Lock()
	require.Empty(t, p.armed)
	require.Len(t, p.late, 1)
	p.mu.Unlock()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
	dial(t, back)
	dial(t, s)
	eventually(t, "it is told", func() bool { return told.Load() == 1 })
	require.Zero(t, never.Load())
}

// TestPollerLeavesNoDescriptor: after many arms.
func TestPollerLeavesNoDescriptor(t *testing.T) {
	fds := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	s := listen(t, [2]string{"unix", t.TempDir() + "/web.sock"})
	before := fds()
	p, err := NewPoller()
	require.NoError(t, err)
	for range 1000 {
		p.Arm(s, func() {})
	}
	p.Close()
	require.Equal(t, before, fds())
}

// FuzzMessages: whatever the kernel said would not crash us.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true)
	f.Add(append([]byte{36, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 12, 0, 1, 0), false)
	f.Fuzz(func(_ *testing.T, b []byte, tcp bool) {
		all := connections{waiting: Queue{}}
		_, _ = messages(b, func(payload []byte) {
			if tcp {
				all.addInet(payload, netip.IPv4Unspecified(), 0)
				return
			}
			parseUnix(payload)
		})
	})
}

func BenchmarkCount(b *testing.B) {
	for _, place := range [][2]string{{"unix", b.TempDir() + "/web.sock"}, {"tcp", "127.0.0.1:47123"}} {
		b.Run(place[0], func(b *testing.B) {
			s, err := Listen(place[0], place[1])
			if err != nil {
				b.Skip(err)
			}
			defer s.Release()
			for b.Loop() {
				if _, err := s.Count(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
