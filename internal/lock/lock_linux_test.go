package lock

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOnlyOneProcessHasTheLock(t *testing.T) {
	dir := tempDir(t)
	h := begin(t, "hold", dir.Name(), nil)
	require.Equal(t, "locked", h.said)
	_, err := TryAcquire(dir, name)
	require.ErrorIs(t, err, ErrHeld)
	require.ErrorContains(t, err, "lock "+path(dir)+": held by another process")
	require.Contains(t, begin(t, "hold", dir.Name(), nil).said, "held by another process")
	h.leave(t)
	free(t, dir)
}

func TestOnlyOneInOneProcessHasTheLock(t *testing.T) {
	dir := tempDir(t)
	l := acquire(t, dir)
	_, err := TryAcquire(dir, name)
	require.ErrorIs(t, err, ErrHeld)
	require.NoError(t, l.Close())
	acquire(t, dir)
}

func TestLockIsFreeAfterSIGKILL(t *testing.T) {
	dir := tempDir(t)
	h := begin(t, "hold", dir.Name(), nil)
	require.Equal(t, "locked", h.said)
	h.kill()
	free(t, dir)
}

// helpExec takes the lock and becomes another program, which has it at the same number.
func helpExec(arg string) (string, error) {
	if _, err := helpHold(arg); err != nil {
		return "", err
	}
	f := kept[len(kept)-1]
	if err := unix.Dup2(int(f.Fd()), 3); err != nil { // clears close-on-exec
		return "", err
	}
	if err := os.Setenv(helperVar, "adopt"); err != nil {
		return "", err
	}
	return "", unix.Exec(self, []string{"lock.test"}, os.Environ())
}

// helpAdopt adopts the lock at descriptor 3 and says whether another program would inherit it.
func helpAdopt(arg string) (string, error) {
	_, l, err := inherited(arg)
	if err != nil {
		return "", err
	}
	flags, err := unix.FcntlInt(l.File().Fd(), unix.F_GETFD, 0)
	return fmt.Sprintf("adopted, current %v, close-on-exec %v", l.Current(), flags&unix.FD_CLOEXEC != 0), err
}

func TestLockSurvivesExec(t *testing.T) {
	dir := tempDir(t)
	h := begin(t, "exec", dir.Name(), nil)
	require.Equal(t, "adopted, current true, close-on-exec true", h.said)
	_, err := TryAcquire(dir, name)
	require.ErrorIs(t, err, ErrHeld)
	h.kill()
	free(t, dir)
}

// TestLockIsInherited: the client's copy goes, the daemon's keeps the lock.
func TestLockIsInherited(t *testing.T) {
	dir := tempDir(t)
	l := acquire(t, dir)
	h := begin(t, "adopt", dir.Name(), func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{l.File()} })
	require.Equal(t, "adopted, current true, close-on-exec true", h.said)
	require.NoError(t, l.Close())
	_, err := TryAcquire(dir, name)
	require.ErrorIs(t, err, ErrHeld, "Close released a lock that another process inherited")
	h.kill()
	free(t, dir)
}

// helpDie takes the lock, hands it to a child that sits on this process's stdin, and dies.
func helpDie(arg string) (string, error) {
	if _, err := helpHold(arg); err != nil {
		return "", err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperVar+"=sit")
	cmd.ExtraFiles = kept[len(kept)-1:]
	cmd.Stdin = os.Stdin
	if err := cmd.Start(); err != nil {
		return "", err
	}
	fmt.Println(cmd.Process.Pid)
	os.Exit(0)
	return "", nil
}

// orphan starts a child that holds the lock, and whose parent took it and is dead. It ends with
// the helper's stdin.
func orphan(t *testing.T, dir *os.File) (taker *helper, pid int) {
	t.Helper()
	h := begin(t, "die", dir.Name(), nil)
	_, err := fmt.Sscan(h.said, &pid)
	require.NoError(t, err, h.said)
	t.Cleanup(func() {
		h.stdin.Close()
		eventually(t, "the orphan ends with its stdin", func() bool { return unix.Kill(pid, 0) == unix.ESRCH || zombie(pid) })
	})
	state, err := h.cmd.Process.Wait() // not Cmd.Wait, which would close the orphan's stdin
	require.NoError(t, err)
	require.True(t, state.Success())
	return h, pid
}

// zombie reports whether pid only waits for an init that does not reap.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z "))
}

func TestLockSurvivesTheDeathOfItsTaker(t *testing.T) {
	dir := tempDir(t)
	h, _ := orphan(t, dir)
	_, err := TryAcquire(dir, name)
	require.ErrorIs(t, err, ErrHeld)
	require.NoError(t, h.stdin.Close())
	free(t, dir)
}

// TestNeverFreeWhileACopyIsOpen: however many are closed, and whichever first.
func TestNeverFreeWhileACopyIsOpen(t *testing.T) {
	dir := tempDir(t)
	l := acquire(t, dir)
	var copies []int
	for range 3 {
		fd, err := unix.FcntlInt(l.File().Fd(), unix.F_DUPFD_CLOEXEC, 3)
		require.NoError(t, err)
		copies = append(copies, fd)
	}
	require.NoError(t, l.Close())
	for _, fd := range copies {
		_, err := TryAcquire(dir, name)
		require.ErrorIs(t, err, ErrHeld)
		require.NoError(t, unix.Close(fd))
	}
	acquire(t, dir)
}

func TestRemovedLockFileIsMadeAgainAndTheOldOneIsNotCurrent(t *testing.T) {
	for what, lose := range map[string]func(path string) error{
		"removed":  os.Remove,
		"moved":    func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error { return os.Rename(path+".other", path) },
	} {
		dir := tempDir(t)
		old := acquire(t, dir)
		require.True(t, old.Current())
		require.NoError(t, os.WriteFile(path(dir)+".other", nil, 0o600))
		require.NoError(t, lose(path(dir)))
		require.False(t, old.Current(), what)
		l, err := TryAcquire(dir, name)
		require.NoError(t, err, what)
		require.True(t, l.Current())
		require.False(t, old.Current())
		a, err := l.File().Stat()
		require.NoError(t, err)
		b, err := old.File().Stat()
		require.NoError(t, err)
		require.False(t, os.SameFile(a, b))
		_, err = FromFile(old.File(), dir, name)
		require.ErrorIs(t, err, ErrReplaced, what)
		require.NoError(t, l.Close())
	}
}

func TestClosedLockIsNotCurrent(t *testing.T) {
	l := acquire(t, tempDir(t))
	require.NoError(t, l.Close())
	require.False(t, l.Current())
}

// TestFromFileOfAForeignLock: a descriptor alone proves nothing.
func TestFromFileOfAForeignLock(t *testing.T) {
	dir := tempDir(t)
	acquire(t, dir)
	f, err := os.OpenFile(path(dir), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = FromFile(f, dir, name)
	require.ErrorIs(t, err, ErrHeld)
}

func TestWhatIsNoLockFileIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		put  func(path string) error
		says string
	}{
		"symlink":          {func(p string) error { return os.Symlink("elsewhere", p) }, "it is a symlink"},
		"dangling symlink": {func(p string) error { return os.Symlink("nowhere", p) }, "it is a symlink"},
		"directory":        {func(p string) error { return os.Mkdir(p, 0o700) }, "is a directory"},
		"FIFO":             {func(p string) error { return unix.Mkfifo(p, 0o600) }, "it is not a regular file"},
		"hard link":        {func(p string) error { return os.Link(filepath.Join(filepath.Dir(p), "elsewhere"), p) }, "it has another name (a hard link)"},
		"mode 0644":        {func(p string) error { return put(p, 0o644) }, "its mode is 0644, others could lock it"},
		"mode 0620":        {func(p string) error { return put(p, 0o620) }, "its mode is 0620, others could lock it"},
		"mode 0602":        {func(p string) error { return put(p, 0o602) }, "its mode is 0602, others could lock it"},
	} {
		dir := tempDir(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir.Name(), "elsewhere"), []byte("mine"), 0o600))
		require.NoError(t, c.put(path(dir)), what)
		before, err := os.Lstat(path(dir))
		require.NoError(t, err)
		_, err = TryAcquire(dir, name)
		var perr *fs.PathError
		require.ErrorAs(t, err, &perr, what)
		require.Equal(t, "lock "+path(dir)+": "+c.says, err.Error(), what)
		after, err := os.Lstat(path(dir))
		require.NoError(t, err)
		require.Equal(t, before.Mode(), after.Mode(), what)
		require.Equal(t, before.Size(), after.Size(), what)
		data, err := os.ReadFile(filepath.Join(dir.Name(), "elsewhere"))
		require.NoError(t, err)
		require.Equal(t, "mine", string(data), what)
		require.NoFileExists(t, filepath.Join(dir.Name(), "nowhere"))
	}
}

func put(path string, mode fs.FileMode) error {
	if err := os.WriteFile(path, nil, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func TestForeignLockFileIsRefused(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	require.NoError(t, put(path(dir), 0o600))
	require.NoError(t, os.Chown(path(dir), somebody, somebody))
	_, err := TryAcquire(dir, name)
	require.ErrorContains(t, err, "it belongs to uid 65534, not to you")
}

func TestLockFileHasItsSizeAndKeepsItsBytes(t *testing.T) {
	dir := tempDir(t)
	l := acquire(t, dir)
	fi, err := os.Stat(path(dir))
	require.NoError(t, err)
	require.Equal(t, int64(Size), fi.Size())
	require.Equal(t, fs.FileMode(0o600), fi.Mode())
	require.NoError(t, l.WriteRecord(Record{Attempt: 7, Message: "kept"}))
	require.NoError(t, l.Close())

	before, err := os.ReadFile(path(dir))
	require.NoError(t, err)
	require.Len(t, before, Size)
	l = acquire(t, dir)
	_, err = TryAcquire(dir, name)
	require.ErrorIs(t, err, ErrHeld)
	after, err := os.ReadFile(path(dir))
	require.NoError(t, err)
	require.Equal(t, before, after)
	r, ok := l.Record()
	require.True(t, ok)
	require.Equal(t, "kept", r.Message)
}

// TestOnlyAHolderWrites: who does not get the lock leaves every byte as it is, even of a file
// that lost its size.
func TestOnlyAHolderWrites(t *testing.T) {
	dir := tempDir(t)
	acquire(t, dir)
	require.NoError(t, os.Truncate(path(dir), 0))
	_, err := TryAcquire(dir, name)
	require.ErrorIs(t, err, ErrHeld)
	fi, err := os.Stat(path(dir))
	require.NoError(t, err)
	require.Zero(t, fi.Size())
}
