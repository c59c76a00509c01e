package supervisor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestLockOfWhoIsAboutToEnd: nobody is seen who has the lock (here: this process, which is never of the tree), and it becomes free all the same.
func TestLockOfWhoIsAboutToEnd(t *testing.T) {
	t.Parallel()
	v := &svc{name: "web", sup: &Supervisor{o: Options{ID: "0123456789abcdef", Locks: t.TempDir()}}}
	held, err := os.Create(filepath.Join(v.sup.o.Locks, "web.lock"))
	require.NoError(t, err)
	defer held.Close()
	fd := int(held.Fd())
	require.NoError(t, unix.Flock(fd, unix.LOCK_EX))
	require.False(t, v.lockIsFree())

	time.AfterFunc(50*time.Millisecond, func() { _ = unix.Flock(fd, unix.LOCK_UN) })
	f, err := v.takeLock()
	require.NoError(t, err)
	require.False(t, v.lockIsFree())
	require.NoError(t, f.Close())
	require.True(t, v.lockIsFree())

	require.NoError(t, unix.Flock(fd, unix.LOCK_EX))
	_, err = v.takeLock()
	require.ErrorIs(t, err, unix.EWOULDBLOCK, "it is never given up by whoever has it")
}
