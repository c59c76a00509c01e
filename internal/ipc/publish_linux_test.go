package ipc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The gap that TestPublishLeavesNoGap may miss by luck is seen here for certain.
func TestPublishNeverDeletesTheName(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, dir.Name(), unix.IN_DELETE)
	require.NoError(t, err)

	published(t, dir)
	published(t, dir)
	buf := make([]byte, 4096)
	_, err = unix.Read(fd, buf)
	require.ErrorIs(t, err, unix.EAGAIN, "no file was deleted")

	require.NoError(t, listen(t, dir).Close())
	n, err := unix.Read(fd, buf)
	require.NoError(t, err, "the watch works")
	require.Positive(t, n)
}
