package servicelog

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inside tells whether the test runs in the process of its own that it needs: one whose
// mounts and limits are gone with it. If not, it runs the test there.
func inside(t *testing.T, attr *syscall.SysProcAttr) bool {
	if os.Getenv(insideKey) == t.Name() {
		return true
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), insideKey+"="+t.Name())
	c.SysProcAttr = attr
	leash(t, c)
	out, err := c.CombinedOutput()
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL):
		t.Skip("no namespaces here: ", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skip(string(out))
	}
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

func TestFullDiskNeverBlocksTheService(t *testing.T) {
	if !inside(t, &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}) {
		return
	}
	o := place(t)
	require.NoError(t, os.Mkdir(o.Dir, 0o700))
	if err := unix.Mount("tmpfs", o.Dir, "tmpfs", 0, "size=512k,mode=700"); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(o.Dir, unix.MNT_DETACH) })
	filler := filepath.Join(o.Dir, "filler")
	require.NoError(t, os.WriteFile(filler, make([]byte, 256<<10), 0o600))
	outlast(t, o, func() { require.NoError(t, os.Remove(filler)) })
}

func TestFileSizeLimitNeverBlocksTheService(t *testing.T) {
	if !inside(t, nil) {
		return
	}
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &limit))
	old := limit.Cur
	limit.Cur = 100_000
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	outlast(t, place(t), func() {
		limit.Cur = old
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	})
}

// outlast writes more than there is room for, makes room, and writes again.
func outlast(t *testing.T, o Options, makeRoom func()) {
	var said bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	w := open(t, o)
	out := output(t, w)
	text := strings.Repeat("0123456789abcde\n", 1<<16)
	say(t, w, out, text) // hangs here when the writer does not take it

	kept := w.Position().Offset
	require.Positive(t, kept)
	require.EqualValues(t, len(text), kept+w.Lost())
	require.Equal(t, text[:kept], string(content(t, o.Dir, 1)), "what was written before must stay")

	lost := w.Lost()
	say(t, w, out, text)
	require.EqualValues(t, lost+int64(len(text)), w.Lost())

	makeRoom()
	lost = w.Lost()
	say(t, w, out, "\nthere is room\n")
	require.Equal(t, lost, w.Lost())
	require.Equal(t, text[:kept]+"\nthere is room\n", string(content(t, o.Dir, 1)))
	r := read(t, o.Dir)
	require.NoError(t, r.Tail(1))
	require.Equal(t, []string{"there is room"}, texts(t, r))

	require.NoError(t, w.Close())
	require.Equal(t, 1, strings.Count(said.String(), "log cannot be written"), said.String())
	require.Equal(t, 1, strings.Count(said.String(), "log is written again"), said.String())
}
