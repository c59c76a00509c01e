package sentry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// write opens a FIFO as a service does, and writes to it.
func write(t *testing.T, path, words string) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), path)
	_, err = f.WriteString(words)
	require.NoError(t, err)
	return f
}

// rest is what a FIFO holds.
func rest(t *testing.T, path string) string {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err == unix.EAGAIN {
		return ""
	}
	require.NoError(t, err)
	return string(buf[:n])
}

// TestLastWordsOutliveServiceAndDaemon: both are gone in the same instant, and what the service wrote is there for
// the next daemon. Without a sentry it is not.
func TestLastWordsOutliveServiceAndDaemon(t *testing.T) {
	dir := place(t, "web")
	path := filepath.Join(dir, "fifo", "web")
	d := startDaemon(t, dir)
	service := write(t, path, "last words")
	eventually(t, "it keeps the FIFO", func() bool { return len(keeps(d.sentry)) == 1 })
	d.kill(t)
	require.NoError(t, service.Close())
	require.Equal(t, "last words", rest(t, path))

	service = write(t, path, "more")
	d.killSentry(t)
	require.NoError(t, service.Close())
	require.Empty(t, rest(t, path))
}

// TestOrphanKnowsHowHobdEnded, and which of its FIFOs is still written to.
func TestOrphanKnowsHowHobdEnded(t *testing.T) {
	for what, c := range map[string]struct {
		end  func(t *testing.T, d *daemon)
		want process.Exit
		kind End
	}{
		"killed":                  {func(t *testing.T, d *daemon) { d.kill(t) }, process.Exit{Signal: syscall.SIGKILL, Known: true}, Orphaned},
		"a panic":                 {func(t *testing.T, d *daemon) { d.tell(t, "panic") }, process.Exit{Code: 2, Known: true}, Orphaned},
		"it left without a word":  {func(t *testing.T, d *daemon) { d.tell(t, "exit") }, process.Exit{Known: true}, Orphaned},
		"it left for another one": {func(t *testing.T, d *daemon) { d.tell(t, "retire"); d.tell(t, "exit") }, process.Exit{Known: true}, Retired},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := place(t, "web", "api")
			d := startDaemon(t, dir)
			service := write(t, filepath.Join(dir, "fifo", "web"), "x")
			eventually(t, "it keeps both", func() bool { return len(keeps(d.sentry)) == 2 })
			c.end(t, d)
			r := reported(t, dir)
			require.Equal(t, c.kind, r.End)
			require.Equal(t, d.cmd.Process.Pid, r.Pid)
			if r.Exit.Known { // before Linux 6.15 only by chance
				require.Equal(t, c.want, r.Exit)
			}
			require.Equal(t, 2, r.Kept)
			require.True(t, r.Writers)
			require.NotContains(t, said(dir), "no writers")
			require.NoError(t, service.Close())
			eventually(t, "the orphan sees that nobody writes", func() bool { return strings.Contains(said(dir), "no writers") })
		})
	}
}

// TestDaemonThatDiesAtOnce: before its sentry has read anything.
func TestDaemonThatDiesAtOnce(t *testing.T) {
	dir := place(t, "web")
	for range 10 {
		d := startDaemon(t, dir)
		service := write(t, filepath.Join(dir, "fifo", "web"), "x")
		require.NoError(t, syscall.Kill(d.sentry, syscall.SIGSTOP))
		d.kill(t)
		require.NoError(t, syscall.Kill(d.sentry, syscall.SIGCONT))
		r := reported(t, dir)
		require.Equal(t, Orphaned, r.End)
		require.Equal(t, 1, r.Kept)
		require.True(t, r.Writers)
		require.NoError(t, service.Close())
		require.Equal(t, "x", rest(t, service.Name()))
		d.killSentry(t)
		require.NoError(t, os.Remove(filepath.Join(dir, "said")))
	}
}

// TestSentryHasNothingElse of hobd's: no file, no terminal, a session of its own.
func TestSentryHasNothingElse(t *testing.T) {
	dir := place(t, "web")
	leak := write(t, filepath.Join(dir, "fifo", "web"), "")
	defer leak.Close()
	k := keep(t, options(dir, "sentry"))
	k.Sync()
	pid := theSentry(t, dir)
	eventually(t, "it has its end", func() bool { return len(keeps(pid)) == 1 })
	require.Regexp(t, `0$`, keeps(pid)["web"], "open read-only, flags in octal")
	null, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", pid))
	require.NoError(t, err)
	require.Equal(t, os.DevNull, null)
	info, err := process.Stat(pid)
	require.NoError(t, err)
	require.Equal(t, pid, info.Session)
	wd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	require.NoError(t, err)
	require.Equal(t, "/", wd)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	for _, e := range entries {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
		require.Regexp(t, `^/dev/null$|/said$|/fifo/web$|^socket:|^anon_inode:|^pipe:|^/sys/fs/cgroup/`, to)
	}
}

// TestSentryFollowsTheFIFOs: new ones, those that were made anew, and those that are not wanted any more. One that has
// only lost its name is kept: a service still writes to it.
func TestSentryFollowsTheFIFOs(t *testing.T) {
	dir := place(t, "web")
	o := options(dir, "sentry")
	want := map[string]string{"web": filepath.Join(dir, "fifo", "web")}
	o.FIFOs = func() map[string]string { return want }
	k := keep(t, o)
	k.Sync()
	pid := theSentry(t, dir)
	has := func(names ...string) {
		t.Helper()
		k.Sync()
		eventually(t, fmt.Sprintf("it keeps %q, not %q", names, keeps(pid)), func() bool {
			now := keeps(pid)
			for _, name := range names {
				if now[name] == "" {
					return false
				}
			}
			return len(now) == len(names)
		})
	}
	has("web")
	want["api"] = filepath.Join(dir, "fifo", "api")
	has("web") // it is not there yet
	mkfifo(t, dir, "api")
	has("web", "api")
	require.NoError(t, os.Remove(want["web"]))
	has("web (deleted)", "api")
	mkfifo(t, dir, "web")
	has("web", "api")
	delete(want, "web")
	has("api")
	require.NoError(t, os.Remove(want["api"]))
	require.NoError(t, os.WriteFile(want["api"], nil, 0o600))
	has("api (deleted)") // what took its place is no FIFO
	require.Equal(t, pid, theSentry(t, dir), "it is the same one")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, "another one comes", func() bool { now := sentries(dir); return len(now) == 1 && now[0] != pid })
	pid = theSentry(t, dir)
	has("api (deleted)")
}

// TestKilledSentryIsReplaced, and the next one has all that it had.
func TestKilledSentryIsReplaced(t *testing.T) {
	names := []string{"a", "b", "c"}
	dir := place(t, names...)
	k := keep(t, options(dir, "sentry"))
	k.Sync()
	seen := map[int]bool{}
	for range 2 { // the third one would wait for a second
		pid := theSentry(t, dir)
		require.False(t, seen[pid])
		seen[pid] = true
		eventually(t, "it keeps them all", func() bool { return len(keeps(pid)) == len(names) })
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		eventually(t, "it is gone", func() bool { now := sentries(dir); return len(now) == 0 || now[0] != pid })
	}
	theSentry(t, dir)
}

// TestManyEndsWaitForASlowSentry: more than a socket holds.
func TestManyEndsWaitForASlowSentry(t *testing.T) {
	dir := place(t)
	const n = 1000
	for i := range n {
		mkfifo(t, dir, fmt.Sprintf("s%03d", i))
	}
	k := keep(t, options(dir, "sentry"))
	k.Sync()
	eventually(t, "one keeps them all", func() bool { // one that does not read for a second is replaced
		pids := sentries(dir)
		return len(pids) == 1 && len(keeps(pids[0])) == n
	})
}

// TestNothingToKeepNoSentry: it stays for a while, in case that something comes.
func TestNothingToKeepNoSentry(t *testing.T) {
	dir := place(t)
	o := options(dir, "sentry")
	o.Linger = 50 * time.Millisecond
	k := keep(t, o)
	k.Sync()
	require.Empty(t, sentries(dir))
	path := mkfifo(t, dir, "web")
	k.Sync()
	pid := theSentry(t, dir)
	eventually(t, "it keeps the FIFO", func() bool { return len(keeps(pid)) == 1 }) // so it is quick enough to say goodbye
	require.NoError(t, os.Remove(path))
	k.Sync()
	eventually(t, "it is gone", func() bool { return len(sentries(dir)) == 0 })
	require.Equal(t, Dismissed, reported(t, dir).End)
	require.Zero(t, reported(t, dir).Kept)
	mkfifo(t, dir, "web")
	k.Update()
	require.NotEqual(t, pid, theSentry(t, dir))
}

// TestLingeringSentryIsUsedAgain: a loop of short services does not fork one each time.
func TestLingeringSentryIsUsedAgain(t *testing.T) {
	dir := place(t, "web")
	o := options(dir, "sentry")
	o.Linger = 4 * patience
	k := keep(t, o)
	k.Sync()
	pid := theSentry(t, dir)
	for range 20 {
		require.NoError(t, os.Remove(filepath.Join(dir, "fifo", "web")))
		k.Sync()
		mkfifo(t, dir, "web")
		k.Sync()
	}
	require.Equal(t, []int{pid}, sentries(dir))
	k.Close(false)
	noneIsLeft(t, dir)
}

// TestStoppedSentryHoldsNobodyUp: it is killed when it does not go, and when it does not read.
func TestStoppedSentryHoldsNobodyUp(t *testing.T) {
	dir := place(t, "web")
	k := keep(t, options(dir, "sentry"))
	k.Sync()
	pid := theSentry(t, dir)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	for i := range 1000 {
		mkfifo(t, dir, fmt.Sprintf("s%03d", i))
	}
	k.Sync()
	eventually(t, "another one keeps them all", func() bool {
		now := sentries(dir)
		return len(now) == 1 && now[0] != pid && len(keeps(now[0])) == 1001
	})
	require.NoError(t, syscall.Kill(theSentry(t, dir), syscall.SIGSTOP))
	k.Close(false)
	noneIsLeft(t, dir)
}

// TestUselessSentriesAreNotStartedOverAndOver: one that ends at once, one that can't be executed.
func TestUselessSentriesAreNotStartedOverAndOver(t *testing.T) {
	dir := place(t, "web")
	starts := 0
	o := options(dir, "ends")
	output := o.Command.Output
	o.Command.Output = func() (*os.File, error) { starts++; return output() }
	began := time.Now()
	k := Keep(o)
	k.Sync()
	for range 1000 {
		k.Sync()
	}
	k.Close(false)
	require.LessOrEqual(t, starts, 2+int(time.Since(began)/time.Second)) // 2, and no more than one more after each second
	require.Positive(t, starts)

	for _, bad := range []func() (string, error){program("/nonexistent/hobd"), func() (string, error) { return "", os.ErrNotExist }} {
		o.Command.Program = bad
		k = Keep(o)
		k.Sync()
		k.Close(true)
		noneIsLeft(t, dir)
	}
}

// TestOtherSentry is one that lives and is not this process.
func TestOtherSentry(t *testing.T) {
	dir := place(t, "web")
	var noted []string
	o := options(dir, "sentry")
	o.Note = func(who string) { noted = append(noted, who) }
	k := keep(t, o)
	k.Sync()
	k.Sync()
	require.Len(t, noted, 1)
	require.True(t, Other(noted[0]))
	self, err := process.Identify(os.Getpid())
	require.NoError(t, err)
	require.False(t, Other(fmt.Sprintf("%d %d\n", self.Pid, self.Start)))
	parent, err := process.Identify(os.Getppid())
	require.NoError(t, err)
	require.False(t, Other(fmt.Sprintf("%d %d\n", parent.Pid, parent.Start+1)), "the pid is somebody else's now")
	for _, junk := range []string{"", "\n", "x", "1", "-1 0", "99999999999999999999 1"} {
		require.False(t, Other(junk), junk)
	}
	k.Close(false)
	eventually(t, "it has ended", func() bool { return !Other(noted[0]) })
}

// TestPausesGrow and are bounded, whatever the count.
func TestPausesGrow(t *testing.T) {
	require.Zero(t, pause(0))
	require.Zero(t, Delay(0))
	require.Zero(t, Delay(-1))
	for n := 1; n < 100; n++ {
		require.LessOrEqual(t, pause(n), maxPause)
		require.GreaterOrEqual(t, pause(n), pause(n-1))
		require.GreaterOrEqual(t, delay(n, 0), 75*time.Millisecond)
		require.LessOrEqual(t, delay(n, 1), maxDelay*5/4)
		require.GreaterOrEqual(t, delay(n, 0.5), delay(n-1, 0.5))
	}
	require.Equal(t, firstDelay, delay(1, 0.5))
	require.Equal(t, maxDelay, delay(1000, 0.5))
}

// TestSentryNeedsAKeeper: a descriptor that is no socket of its is left alone.
func TestSentryNeedsAKeeper(t *testing.T) {
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer f.Close()
	_, err = newPost(int(f.Fd()))
	require.ErrorContains(t, err, "it is not a keeper's socket")
	_, err = newPost(1 << 20)
	require.ErrorContains(t, err, "it is not a keeper's socket")
}

// TestUpgradeOfHobdIsWatched: the sentry stays through it, and knows whether the next program is to blame for its end. One that does nothing is
// ended.
func TestUpgradeOfHobdIsWatched(t *testing.T) {
	for what, c := range map[string]struct {
		end   func(t *testing.T, d *daemon)
		blame bool
	}{
		"exits":  {func(t *testing.T, d *daemon) { d.tell(t, "exit") }, true},
		"panics": {func(t *testing.T, d *daemon) { d.tell(t, "panic") }, true},
		"killed": {func(t *testing.T, d *daemon) { d.kill(t) }, false},
		"hangs":  {func(*testing.T, *daemon) {}, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := place(t, "web")
			if what == "hangs" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "impatient"), nil, 0o600))
			}
			d := startDaemon(t, dir)
			service := write(t, filepath.Join(dir, "fifo", "web"), "x")
			defer service.Close()
			eventually(t, "it keeps the FIFO", func() bool { return len(keeps(d.sentry)) == 1 })
			d.tell(t, "upgrade")
			eventually(t, "it becomes another program", func() bool { _, err := os.Stat(filepath.Join(dir, "upgraded")); return err == nil })
			c.end(t, d)
			r := reported(t, dir)
			require.Equal(t, Orphaned, r.End)
			require.True(t, r.Upgrading)
			if r.Exit.Known || what == "hangs" { // before Linux 6.15 only by chance
				require.Equal(t, c.blame, r.Blame)
			}
			require.Equal(t, 1, r.Kept)
		})
	}
	t.Run("has a sentry of its own", func(t *testing.T) {
		t.Parallel()
		dir := place(t, "web")
		d := startDaemon(t, dir)
		d.tell(t, "upgrade")
		d.tell(t, "dismiss")
		require.Equal(t, Dismissed, reported(t, dir).End)
	})
}

// TestWhoWasStoppedKillsNobody: a sentry whose time for an upgrade passed while it was stopped first hears what was said meanwhile.
func TestWhoWasStoppedKillsNobody(t *testing.T) {
	t.Parallel()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	p, err := newPost(fds[0])
	require.NoError(t, err)
	defer p.Close()
	p.daemon, err = process.Start(process.Spec{Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Dir: "/"})
	require.NoError(t, err)
	hobd := p.daemon.ID()
	defer func() { _ = syscall.Kill(hobd.Pid, syscall.SIGKILL) }()

	p.patience = 0 // it is over before anybody looks
	require.NoError(t, send(fds[1], frame{op: opUpgrade}, -1))
	require.NoError(t, send(fds[1], frame{op: opGoodbye}, -1))
	require.Equal(t, Dismissed, p.Watch())
	require.False(t, p.hung)
	require.True(t, hobd.Alive())
	require.NoError(t, send(fds[1], frame{op: opUpgrade}, -1))
	watched := make(chan End, 1)
	go func() { watched <- p.Watch() }()
	eventually(t, "one that says nothing is ended", func() bool { return !hobd.Alive() })
	require.NoError(t, unix.Close(fds[1]))
	require.Equal(t, Orphaned, <-watched)
	require.True(t, p.hung)
}
