package process

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// descriptors returns what /proc/PID/fd links to, by number.
func descriptors(t *testing.T, pid string) map[int]string {
	t.Helper()
	dir := "/proc/" + pid + "/fd"
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	fds := map[int]string{}
	for _, name := range names {
		if link, err := os.Readlink(filepath.Join(dir, name.Name())); err == nil {
			n, err := strconv.Atoi(name.Name())
			require.NoError(t, err)
			fds[n] = link
		}
	}
	return fds
}

// requireDescriptors waits until the process has those and no others: its loader has libraries open for a moment, ld.so(8).
func requireDescriptors(t *testing.T, want map[int]string, p *Process) {
	t.Helper()
	pid := strconv.Itoa(p.ID().Pid)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if maps.Equal(want, descriptors(t, pid)) {
			return
		}
	}
	require.Equal(t, want, descriptors(t, pid))
}

func TestChildHasOnlyWhatItIsMeantToHave(t *testing.T) {
	t.Parallel()
	output, lock := create(t, "output"), create(t, "web.lock")
	p := start(t, Spec{Output: output, Lock: lock}, "sleep", "600")
	requireDescriptors(t, map[int]string{
		0: os.DevNull, 1: output.Name(), 2: output.Name(), LockDescriptor: lock.Name(),
	}, p)

	p = start(t, Spec{}, "sleep", "600")
	requireDescriptors(t, map[int]string{0: os.DevNull, 1: os.DevNull, 2: os.DevNull}, p)
}

func TestExtraDescriptorsAreWhereTheyAreMeantToBe(t *testing.T) {
	t.Parallel()
	lock, low, high := create(t, "web.lock"), create(t, "low"), create(t, "high")
	for _, extra := range [][]Extra{{{FD: 5, File: low}, {FD: 12, File: high}}, {{FD: 12, File: high}, {FD: 5, File: low}}} {
		p := start(t, Spec{Lock: lock, Extra: extra}, "sleep", "600")
		requireDescriptors(t, map[int]string{0: os.DevNull, 1: os.DevNull, 2: os.DevNull, 5: low.Name(), LockDescriptor: lock.Name(), 12: high.Name()}, p)
	}
	for _, fd := range []int{-1, 0, 2, LockDescriptor} {
		_, err := Start(Spec{Path: "/bin/true", Extra: []Extra{{FD: fd, File: low}}})
		require.ErrorContains(t, err, "not free")
	}
}

func TestLockOutlivesTheCallersDescriptor(t *testing.T) {
	t.Parallel()
	lock := create(t, "web.lock")
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	p := start(t, Spec{Lock: lock}, "sleep", "600")
	require.NoError(t, lock.Close())

	again, err := os.Open(lock.Name())
	require.NoError(t, err)
	defer again.Close()
	require.ErrorIs(t, unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	end(t, p)
	// Not free at once: a child that another test forks at this instant has our descriptors until its exec.
	require.Eventually(t, func() bool { return unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil },
		time.Minute, time.Millisecond)
}

func TestChildLeadsItsSessionAndGroup(t *testing.T) {
	t.Parallel()
	p := start(t, Spec{}, "sleep", "600")
	info, err := Stat(p.ID().Pid)
	require.NoError(t, err)
	require.Equal(t, info.Pid, info.Session)
	require.Equal(t, info.Pid, info.Group)
	require.Equal(t, os.Getpid(), info.PPid)
	eventually(t, func() bool { info, err = Stat(p.ID().Pid); return err == nil && info.Command == "sleep" }, "it has its name")
}

func TestChildGetsDirArgsAndEnvironment(t *testing.T) {
	t.Parallel()
	output, dir := create(t, "output"), t.TempDir()
	p := start(t, Spec{Output: output, Dir: dir, Mark: "i/web/1", Env: []string{"A=b c", MarkName + "=other"}},
		"sh", "-c", `pwd -P; echo "$0 $1 $A $`+MarkName+`"; cat; echo err >&2`, "name", "arg")
	waitDone(t, p)
	b, err := os.ReadFile(output.Name())
	require.NoError(t, err)
	real, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	// cat found the end of its input at once.
	require.Equal(t, real+"\nname arg b c i/web/1\nerr\n", string(b))
}

func TestStartTellsWhyNothingRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := writeProgram(t, filepath.Join(dir, name), text)
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	for name, c := range map[string]struct {
		spec Spec
		is   error
		says string
	}{
		"missing":             {Spec{Path: filepath.Join(dir, "none")}, syscall.ENOENT, "exec " + dir + "/none: no such file or directory"},
		"not executable":      {Spec{Path: write("plain", "x", 0o600)}, syscall.EACCES, "permission denied"},
		"a directory":         {Spec{Path: dir}, fs.ErrPermission, "permission denied"},
		"text without #!":     {Spec{Path: write("text", "echo hi\n", 0o700)}, syscall.ENOEXEC, "no #! line"},
		"interpreter missing": {Spec{Path: write("script", "#!/none/such\n", 0o700)}, syscall.ENOENT, "interpreter"},
		"dir missing":         {Spec{Path: "/bin/sh", Dir: filepath.Join(dir, "gone")}, syscall.ENOENT, "enter its directory: stat " + dir + "/gone"},
		"dir a file":          {Spec{Path: "/bin/sh", Dir: write("file", "", 0o600)}, syscall.ENOTDIR, "enter its directory"},
		"nul in an argument":  {Spec{Path: "/bin/sh", Args: []string{"sh", "a\x00b"}}, syscall.EINVAL, "exec /bin/sh: invalid argument"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(c.spec)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestStartRefusesAClosedFile(t *testing.T) {
	t.Parallel()
	f := create(t, "closed")
	require.NoError(t, f.Close())
	_, err := Start(Spec{Path: "/bin/sh", Output: f})
	require.ErrorIs(t, err, os.ErrClosed)
}

// Not parallel: it counts descriptors of this process.
func TestStartsLeakNothing(t *testing.T) {
	start := func() {
		p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 1"}})
		require.NoError(t, err)
		waitDone(t, p)
		require.Equal(t, Exit{Code: 1, Known: true}, p.Exit())
		require.NoError(t, p.Release())
		_, err = Start(Spec{Path: "/none"})
		require.Error(t, err)
	}
	start() // with the first, the runtime gets its poller
	before := descriptors(t, "self")
	for range 200 {
		start()
	}
	require.Len(t, descriptors(t, "self"), len(before))
	for _, pid := range children() {
		info, err := Stat(pid)
		require.False(t, err == nil && info.Dead(), "zombie %d (%s)", pid, info.Command)
	}
	leaders.mu.Lock()
	defer leaders.mu.Unlock()
	require.Empty(t, leaders.byPid)
}
