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

// tiny mounts a file system of its own for the log, in a namespace of its own; false when
// the test is done: it ran in there, or cannot.
func tiny(t *testing.T, o Options, data string) bool {
	if !inside(t, &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}) {
		return false
	}
	require.NoError(t, os.Mkdir(o.Dir, 0o700))
	if err := unix.Mount("tmpfs", o.Dir, "tmpfs", 0, data); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(o.Dir, unix.MNT_DETACH) })
	return true
}

func TestFullDiskNeverBlocksTheService(t *testing.T) {
	for max, name := range map[int64]string{0: "one segment", 64 << 10: "rotating"} {
		t.Run(name, func(t *testing.T) {
			o := place(t)
			o.Max, o.Keep = max, 1000
			if !tiny(t, o, "size=512k,mode=700") {
				return
			}
			filler := filepath.Join(o.Dir, "filler")
			require.NoError(t, os.WriteFile(filler, make([]byte, 256<<10), 0o600))
			outlast(t, o, func() { require.NoError(t, os.Remove(filler)) })
		})
	}
}

// TestFullDiskIsEmptiedByRotation: what Keep does not keep makes the room, where it is
// enough that a new segment can be made.
func TestFullDiskIsEmptiedByRotation(t *testing.T) {
	o := place(t)
	o.Max, o.Keep = 64<<10, 2
	if !tiny(t, o, "size=512k,mode=700") {
		return
	}
	w := open(t, o)
	out := output(t, w)
	for range 16 {
		say(t, w, out, strings.Repeat("0123456789abcde\n", 1<<14))
	}
	require.Zero(t, w.Lost())
	require.Equal(t, Position{64, 64 << 10}, w.Position())
}

// TestSegmentGoesOnWithoutInodes: there is room for bytes, and none for a file.
func TestSegmentGoesOnWithoutInodes(t *testing.T) {
	o := place(t)
	o.Max, o.Keep = 1000, 1000
	if !tiny(t, o, "size=4m,nr_inodes=6,mode=700") { // the directory and two segments
		return
	}
	var said bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	w := open(t, o)
	out := output(t, w)
	line := strings.Repeat("x", 99) + "\n"
	say(t, w, out, strings.Repeat(line, 1000))
	end := w.Position()
	require.EqualValues(t, 100_000-1000*(end.Segment-1), end.Offset)
	require.Contains(t, said.String(), "log cannot be rotated")
	require.NoError(t, unix.Mount("", o.Dir, "", unix.MS_REMOUNT, "nr_inodes=100"))
	tryNow(w)
	say(t, w, out, line)
	require.Equal(t, Position{end.Segment + 1, 100}, w.Position())
	require.Zero(t, w.Lost())
	require.True(t, strings.Repeat(line, 1001) == strings.Join(contents(t, o.Dir), ""))
	require.NoError(t, w.Close())
	require.Equal(t, 1, strings.Count(said.String(), "log cannot be rotated"), said.String())
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

	all := func() (text string) { // an index may have found no room
		for n := range w.Position().Segment {
			text += string(content(t, o.Dir, n+1))
		}
		return text
	}
	kept := len(all())
	require.Positive(t, kept)
	require.EqualValues(t, len(text), int64(kept)+w.Lost())
	require.True(t, text[:kept] == all(), "what was written before must stay")

	lost := w.Lost()
	say(t, w, out, text)
	require.EqualValues(t, lost+int64(len(text)), w.Lost())

	makeRoom()
	lost = w.Lost()
	say(t, w, out, "\nthere is room\n")
	require.Equal(t, lost, w.Lost())
	require.True(t, text[:kept]+"\nthere is room\n" == all())
	r := read(t, o.Dir)
	require.NoError(t, r.Tail(1))
	require.Equal(t, []string{"there is room"}, texts(t, r))

	require.NoError(t, w.Close())
	require.Equal(t, 1, strings.Count(said.String(), "log cannot be written"), said.String())
	require.Equal(t, 1, strings.Count(said.String(), "log is written again"), said.String())
}
