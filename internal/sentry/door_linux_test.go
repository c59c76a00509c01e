package sentry

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
)

// collected gets what the sentry has; the test closes it.
func collected(t *testing.T, door string) map[string]*os.File {
	t.Helper()
	files, err := Collect(context.Background(), door)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return files
}

// TestSocketAndTerminalSurviveTheDaemon: whoever connects while there is no hobd is served by the next one, and a program on a terminal
// goes on, however hobd has gone.
func TestSocketAndTerminalSurviveTheDaemon(t *testing.T) {
	for _, how := range []string{"kill", "retire"} {
		t.Run(how, func(t *testing.T) {
			dir := place(t, "web")
			d := startDaemon(t, dir, "files")
			if how == "kill" {
				d.kill(t)
			} else {
				d.tell(t, "retire")
				d.tell(t, "exit")
				_ = d.wait()
			}
			c, err := net.Dial("unix", filepath.Join(dir, "web.sock"))
			require.NoError(t, err, "it waits while nobody is there")
			defer c.Close()
			for range 2 { // whoever came first may have died of it
				files := collected(t, filepath.Join(dir, "door"))
				require.Len(t, files, 2)
				require.Contains(t, files, "socket/web")
				require.Contains(t, files, "tty/web")
			}
			files := collected(t, filepath.Join(dir, "door"))
			l, err := net.FileListener(files["socket/web"])
			require.NoError(t, err)
			defer l.Close()
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			require.NoError(t, l.(*net.UnixListener).SetDeadline(time.Now().Add(patience)))
			served, err := l.Accept()
			require.NoError(t, err)
			served.Close()
			master := files["tty/web"]
			_, err = io.WriteString(master, "still\n")
			require.NoError(t, err)
			var seen strings.Builder
			for buf := make([]byte, 100); strings.Count(seen.String(), "still") < 2; { // the echo, and what cat says
				n, err := master.Read(buf)
				require.NoError(t, err)
				seen.Write(buf[:n])
			}
		})
	}
}

// TestDoorIsServedOnlyWithoutDaemon: a hobd that is stopped has not gone; who asks meanwhile waits no longer than he wants to.
func TestDoorIsServedOnlyWithoutDaemon(t *testing.T) {
	dir := place(t, "web")
	d := startDaemon(t, dir, "files")
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	files, err := Collect(ctx, filepath.Join(dir, "door"))
	require.Error(t, err)
	require.Empty(t, files)
	got := make(chan int, 1)
	go func() {
		files, _ := Collect(context.Background(), filepath.Join(dir, "door"))
		for _, f := range files {
			f.Close()
		}
		got <- len(files)
	}()
	d.kill(t)
	require.Equal(t, 2, <-got, "who has come before is served, too")
}

// TestNoDoorHasNothing: nobody has been there, or nobody is behind it any more.
func TestNoDoorHasNothing(t *testing.T) {
	dir := t.TempDir()
	require.Empty(t, collected(t, filepath.Join(dir, "door")))
	l, err := net.Listen("unix", filepath.Join(dir, "door"))
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	require.Empty(t, collected(t, filepath.Join(dir, "door")))
}

// TestDoorIsItsOwnersAlone: it has its mode from the beginning, and another user who gets through all the same is given nothing.
func TestDoorIsItsOwnersAlone(t *testing.T) {
	dir := place(t, "web")
	d := startDaemon(t, dir, "files")
	door := filepath.Join(dir, "door")
	fi, err := os.Lstat(door)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	d.kill(t)
	if os.Geteuid() != 0 {
		t.Skip("another user can't be tried")
	}
	for path := dir; len(path) > len(os.TempDir()); path = filepath.Dir(path) {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	require.NoError(t, os.Chmod(door, 0o666))
	cmd := exec.Command("/proc/self/exe", door)
	cmd.Env = append(os.Environ(), helperEnv+"=taker")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "it belongs to uid 0")
	cmd = exec.Command("/proc/self/exe", door, "impolite")
	cmd.Env, cmd.SysProcAttr = append(os.Environ(), helperEnv+"=taker"), &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "read 0 bytes\n", string(out))
}

// playTaker comes to a door; an impolite one does not look who is behind it.
func playTaker(args []string) {
	if len(args) > 1 {
		c, err := net.Dial("unix", args[0])
		must(err)
		n, _ := c.Read(make([]byte, recordSize))
		fmt.Println("read", n, "bytes")
		return
	}
	files, err := Collect(context.Background(), args[0])
	fmt.Println(len(files), err)
}

// TestDoorLeadsToTheSentryOfNow: when a sentry was killed, the next one has the files and the door.
func TestDoorLeadsToTheSentryOfNow(t *testing.T) {
	dir := place(t, "web")
	d := startDaemon(t, dir, "files")
	door := filepath.Join(dir, "door")
	before, err := os.Lstat(door)
	require.NoError(t, err)
	require.NoError(t, unix.Kill(d.sentry, unix.SIGKILL))
	eventually(t, "there is another door", func() bool {
		now, err := os.Lstat(door)
		return err == nil && !os.SameFile(before, now)
	})
	d.kill(t)
	require.Len(t, collected(t, door), 2)
	left, err := filepath.Glob(door + "*")
	require.NoError(t, err)
	require.Equal(t, []string{door}, left)
}

// TestDoorOfAKilledSentryGoes with its hobd, if no other sentry has come in its place. One who leaves before it has looked leaves it to the
// next one.
func TestDoorOfAKilledSentryGoes(t *testing.T) {
	dir := place(t, "web")
	o := options(dir, "sentry")
	o.Door = filepath.Join(dir, "door")
	o.Command.Program = program("/nonexistent/hobd")
	require.NoError(t, os.WriteFile(o.Door, nil, 0o600))
	Keep(o).Close(true)
	require.FileExists(t, o.Door)
	k := Keep(o)
	k.Sync()
	k.Close(false)
	require.NoFileExists(t, o.Door)
}

// TestManyFilesComeThrough: all of them, each under its name, and none is left open on this side.
func TestManyFilesComeThrough(t *testing.T) {
	dir := place(t)
	o := options(dir, "sentry")
	o.Door = filepath.Join(dir, strings.Repeat("x", 90), "door") // longer than an address has room for
	require.NoError(t, os.Mkdir(filepath.Dir(o.Door), 0o700))
	names := map[string]bool{}
	for i := range 200 {
		names[fmt.Sprintf("socket/%064d", i)] = true
	}
	o.Files = func() map[string]*os.File {
		all := map[string]*os.File{}
		for name := range names {
			f, err := os.OpenFile(filepath.Join(dir, filepath.Base(name)), os.O_RDWR|os.O_CREATE, 0o600)
			require.NoError(t, err)
			all[name] = f
		}
		return all
	}
	k := Keep(o)
	k.Sync()
	eventually(t, "the sentry has them", func() bool { return openFiles(theSentry(t, dir)) > 200 })
	before := openFiles(os.Getpid())
	for range 20 {
		k.Sync()
	}
	require.Equal(t, before, openFiles(os.Getpid()))
	sentry := theSentry(t, dir)
	k.Close(true) // as if hobd left; its end of the socket goes with it
	unix.Close(k.child.socket)
	files := collected(t, o.Door)
	require.Len(t, files, 200)
	for name, f := range files {
		require.True(t, names[name])
		require.Equal(t, name, f.Name())
		a, err := f.Stat()
		require.NoError(t, err)
		b, err := os.Stat(filepath.Join(dir, filepath.Base(name)))
		require.NoError(t, err)
		require.True(t, os.SameFile(a, b))
	}
	require.NoError(t, unix.Kill(sentry, unix.SIGKILL))
	eventually(t, "it is gone", func() bool { return len(sentries(dir)) == 0 })
}

func openFiles(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}

// TestFilesThatGoAreLetGo: the sentry does not keep what hobd has given up, and is sent away when there is nothing; the door goes with it. What can't be
// duplicated just now has not gone.
func TestFilesThatGoAreLetGo(t *testing.T) {
	dir := place(t)
	o := options(dir, "sentry")
	o.Door, o.Linger = filepath.Join(dir, "door"), time.Millisecond
	var files func() map[string]*os.File
	o.Files = func() map[string]*os.File { return files() }
	files = func() map[string]*os.File {
		f, err := os.Open(dir)
		require.NoError(t, err)
		return map[string]*os.File{"socket/web": f}
	}
	k := keep(t, o)
	k.Sync()
	theSentry(t, dir)
	files = func() map[string]*os.File { return map[string]*os.File{"socket/web": nil} }
	k.Sync()
	require.Len(t, k.kept.files, 1)
	files = func() map[string]*os.File { return nil }
	k.Sync()
	eventually(t, "the sentry is sent away", func() bool { return len(sentries(dir)) == 0 })
	require.NoFileExists(t, o.Door)
	require.Empty(t, k.kept.files)
}

// FuzzRecord: whatever comes from behind a door would not crash hobd.
func FuzzRecord(f *testing.F) {
	good := make([]byte, recordSize)
	good[0] = doorVersion
	copy(good[1:], "socket/web")
	f.Add(good)
	f.Add(make([]byte, recordSize))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		name, err := nameOf(b)
		if err == nil {
			require.NotEmpty(t, name)
			require.True(t, filepath.IsLocal(name))
			require.NotContains(t, name, "\x00")
		}
	})
}

// TestHalfMadeDoorIsSwept: a hobd that is killed before it opens the door leaves nothing for ever.
func TestHalfMadeDoorIsSwept(t *testing.T) {
	dir := t.TempDir()
	d, err := newDoor(filepath.Join(dir, "sentry.sock"))
	require.NoError(t, err)
	defer unix.Close(d.fd)
	require.FileExists(t, d.aside)
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, instance.Sweep(f))
	require.NoFileExists(t, d.aside)
}
