package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func names(t *testing.T, dir *os.File) []string {
	t.Helper()
	entries, err := os.ReadDir(dir.Name())
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestSocketIsPublicOnlyAfterPublish(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	l := listen(t, dir)
	_, err := Connect(t.Context(), dir, "s")
	require.ErrorIs(t, err, unix.ENOENT)
	require.False(t, l.Published())
	c, err := Connect(t.Context(), dir, l.Name())
	require.NoError(t, err, "it answers by its temporary name")
	require.NoError(t, c.Close())
	c, err = l.Accept(nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())

	require.NoError(t, l.Publish())
	require.True(t, l.Published())
	require.Equal(t, "s", l.Name())
	require.Equal(t, []string{"s"}, names(t, dir))
	connect(t, dir)
	c, err = l.Accept(nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())

	require.NoError(t, l.Unpublish())
	require.False(t, l.Published())
	require.Empty(t, names(t, dir))
	require.NoError(t, l.Unpublish(), "nothing left to do")
}

func TestSocketIsBornPrivate(t *testing.T) {
	t.Parallel()
	h := startHelper(t, "bind", t.TempDir())
	require.Equal(t, "600", h.line(t), "after bind, umask 0")
	require.Equal(t, "600", h.line(t), "after Listen, umask 0")
	require.Equal(t, "600", h.line(t), "after Listen, umask 277")
	require.NoError(t, h.cmd.Wait())
}

// helpBind is a process because the umask is one.
func helpBind(path string) error {
	say := func(name string) error {
		fi, err := os.Lstat(filepath.Join(path, name))
		if err == nil {
			fmt.Printf("%o\n", fi.Mode().Perm())
		}
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	unix.Umask(0)
	var l *net.UnixListener
	err = withFd(dir, func(fd int) error {
		addr, err := address(dir, fd, "early")
		if err == nil {
			l, err = bind(addr)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := say("early"); err != nil {
		return err
	}
	for i, mask := range []int{0, 0o277} {
		unix.Umask(mask)
		l, err := Listen(dir, fmt.Sprint("s", i))
		if err != nil {
			return err
		}
		defer l.Close()
		if err := say(l.temp); err != nil {
			return err
		}
	}
	return nil
}

func TestCloseSparesTheSuccessor(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	old := published(t, dir)
	successor := published(t, dir)
	require.False(t, old.Published())

	require.NoError(t, old.Unpublish())
	require.NoError(t, old.Close())
	require.NoError(t, old.Close(), "twice is once")
	require.True(t, successor.Published())
	connect(t, dir)
}

func TestCloseRemovesOnlyTheTemporaryName(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	require.NoError(t, listen(t, dir).Close())
	require.Empty(t, names(t, dir))

	l := published(t, dir)
	require.NoError(t, l.Close())
	require.Equal(t, []string{"s"}, names(t, dir))
	_, err := Connect(t.Context(), dir, "s")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	require.False(t, l.Published())
	require.ErrorIs(t, l.Unpublish(), net.ErrClosed)
	require.ErrorIs(t, l.Publish(), net.ErrClosed)
}

func TestPublishReplacesAFileButNoDirectory(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	path := filepath.Join(dir.Name(), "s")
	for _, plant := range []func() error{
		func() error { return os.WriteFile(path, []byte("x"), 0o600) },
		func() error { return os.Symlink("nowhere", path) },
	} {
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, plant())
		require.True(t, published(t, dir).Published())
	}
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	err := listen(t, dir).Publish()
	require.ErrorIs(t, err, unix.EISDIR)
	require.EqualError(t, err, "publish "+path+": is a directory")
}

func TestPublishTwiceIsHonest(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	l := published(t, dir)
	require.NoError(t, l.Publish())
	require.NoError(t, os.Remove(filepath.Join(dir.Name(), "s")))
	require.False(t, l.Published())
	require.ErrorIs(t, l.Publish(), unix.ENOENT)
}

func TestPublishLeavesNoGap(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	published(t, dir)
	stop, ended := make(chan struct{}), make(chan error, 1)
	var connected atomic.Int64
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			c, err := Connect(context.Background(), dir, "s")
			if err != nil && !errors.Is(err, unix.EAGAIN) { // nobody accepts: a full backlog is alive
				ended <- err
				return
			}
			connected.Add(1)
			if err == nil {
				_ = c.Close()
			}
		}
	}()
	for range 100 { // all stay open: a closed one would refuse whoever had just looked it up
		published(t, dir)
	}
	require.Eventually(t, func() bool { return connected.Load() > 0 || len(ended) > 0 }, patience, time.Millisecond)
	close(stop)
	require.NoError(t, <-ended)
}

func TestSweepRemovesWhatTheKilledLeft(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	killed := listen(t, dir)
	require.NoError(t, killed.l.Close()) // as SIGKILL does it: the name stays
	require.NoError(t, os.WriteFile(filepath.Join(dir.Name(), "s.new-file"), nil, 0o600))
	other, err := Listen(dir, "other")
	require.NoError(t, err)
	defer other.Close()
	published(t, dir)
	require.Len(t, names(t, dir), 4)

	require.NoError(t, Sweep(dir, "s"))
	require.ElementsMatch(t, []string{"s", "s.new-file", other.temp}, names(t, dir))
	require.NoError(t, Sweep(dir, "s"))
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 125), strings.Repeat("e", 125))
	require.NoError(t, os.MkdirAll(path, 0o700))
	dir := openDir(t, path)
	l := published(t, dir)
	connect(t, dir)
	require.True(t, l.Published())
	require.Equal(t, []string{"s"}, names(t, dir))

	_, err := Connect(t.Context(), dir, strings.Repeat("n", 120))
	require.ErrorIs(t, err, unix.ENOENT)
	_, err = Listen(dir, strings.Repeat("n", 120))
	require.ErrorIs(t, err, unix.ENAMETOOLONG)
	require.ErrorContains(t, err, "a socket address holds")
}

func TestRelativeDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("@x", 0o700)) // "@x/s" alone would be an abstract name
	dir := openDir(t, "@x")
	t.Chdir("/")
	published(t, dir)
	connect(t, dir)
}

func TestConnectNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	path := filepath.Join(dir.Name(), "s")
	cases := map[string]struct {
		plant func() error
		want  error
	}{
		"nothing":   {func() error { return nil }, unix.ENOENT},
		"file":      {func() error { return os.WriteFile(path, nil, 0o600) }, unix.ENOTSOCK},
		"directory": {func() error { return os.Mkdir(path, 0o700) }, unix.EISDIR},
		"symlink":   {func() error { return os.Symlink(filepath.Join(dir.Name(), "real"), path) }, ErrSymlink},
	}
	real, err := Listen(dir, "real")
	require.NoError(t, err)
	defer real.Close()
	require.NoError(t, real.Publish())
	for name, c := range cases {
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, c.plant())
		_, err := Connect(t.Context(), dir, "s")
		require.ErrorIs(t, err, c.want, name)
		require.True(t, strings.HasPrefix(err.Error(), "connect "+path+": "), "%v", err)
	}
}

func TestConnectKeepsToItsContext(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	published(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Connect(ctx, dir, "s")
	require.ErrorIs(t, err, context.Canceled)
}

func TestFullBacklogIsEAGAIN(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	l := published(t, dir)
	rc, err := l.l.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, control(rc, func(fd int) error { return unix.Listen(fd, 1) }))
	for range 3 {
		var c *net.UnixConn
		if c, err = Connect(t.Context(), dir, "s"); err != nil {
			break
		}
		defer c.Close()
	}
	require.ErrorIs(t, err, unix.EAGAIN)
}

func TestCredsAreThePeers(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	l := published(t, dir)
	client := connect(t, dir)
	server, err := l.Accept(nil)
	require.NoError(t, err)
	defer server.Close()
	for _, c := range []*net.UnixConn{client, server} {
		creds, err := PeerCreds(c)
		require.NoError(t, err)
		require.Equal(t, Creds{Pid: os.Getpid(), Uid: os.Geteuid()}, creds)
	}
	require.NoError(t, client.Close())
	creds, err := PeerCreds(client)
	require.Error(t, err)
	require.Equal(t, -1, creds.Uid, "unknown is not root")

	a, b := net.Pipe()
	defer b.Close()
	c := NewConn(t.Context(), a, ConnOptions{})
	require.Equal(t, -1, c.Creds().Uid)
	require.NoError(t, c.Close())
	c.Wait()
}

func TestAcceptPendingEmptiesTheBacklog(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	l := published(t, dir)
	_, ok := l.AcceptPending()
	require.False(t, ok)
	for range 3 {
		connect(t, dir)
	}
	require.NoError(t, l.Unpublish())
	for range 3 {
		c, ok := l.AcceptPending()
		require.True(t, ok)
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	_, ok = l.AcceptPending()
	require.False(t, ok)
}

func TestAcceptEndsWithClose(t *testing.T) {
	t.Parallel()
	l := published(t, tempDir(t))
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept(nil)
		ended <- err
	}()
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-ended, net.ErrClosed)
	_, ok := l.AcceptPending()
	require.False(t, ok)
}

func TestAcceptBacksOffAndNeverSpins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries, start, said := 0, time.Now(), []error{}
		say := func(err error) { said = append(said, err) }
		_, err := acceptPatiently(func() (*net.UnixConn, error) {
			if tries++; tries > 12 {
				return new(net.UnixConn), nil
			}
			return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)}
		}, nil, say)
		require.NoError(t, err)
		require.Len(t, said, 1)
		require.ErrorIs(t, said[0], unix.EMFILE)
		// 5+10+…+640 ms, then four times 1 s; the clock is synctest's.
		require.Equal(t, 1275*time.Millisecond+4*time.Second, time.Since(start))

		closed := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(closed) })
		_, err = acceptPatiently(func() (*net.UnixConn, error) { return nil, unix.EACCES }, closed, nil)
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = acceptPatiently(func() (*net.UnixConn, error) { return nil, unix.EINVAL }, closed, say)
		require.ErrorIs(t, err, unix.EINVAL)
		require.Len(t, said, 1)
	})
}
