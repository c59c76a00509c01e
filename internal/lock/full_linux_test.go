package lock

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// helpFull takes locks on small disks that fill up, of the kind arg, mounted over its directory.
func helpFull(arg string) (string, error) {
	if err := unix.Mount("tiny", ".", arg, 0, "size=16k"); err != nil {
		return "mount: " + err.Error(), nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	dir, err := os.Open(wd)
	if err != nil {
		return "", err
	}
	l, err := TryAcquire(dir, "early")
	if err != nil {
		return "", err
	}
	if arg == "ramfs" { // never full
		fi, err := l.File().Stat()
		return fmt.Sprint(fi.Size()), errors.Join(err, l.WriteRecord(Record{Attempt: 1}))
	}
	filler, err := os.Create(wd + "/filler")
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	said := []string{fmt.Sprint(errors.Is(err, unix.ENOSPC))}
	_, err = TryAcquire(dir, "late")
	said = append(said, err.Error())
	if err := l.WriteRecord(Record{Attempt: 1, Message: strings.Repeat("x", MaxMessage)}); err != nil {
		return "", err
	}
	r, ok := l.Record()
	said = append(said, fmt.Sprint(ok, r.Attempt))
	if err := filler.Truncate(0); err != nil {
		return "", err
	}
	_, err = TryAcquire(dir, "late")
	return strings.Join(append(said, fmt.Sprint(err)), "; "), nil
}

// TestFullDisk: without room for the record nothing is started, with it a failure is recorded.
func TestFullDisk(t *testing.T) {
	dir := tempDir(t)
	h := begin(t, "full", "tmpfs", inside(dir))
	if strings.HasPrefix(h.said, "mount: ") || strings.HasPrefix(h.said, "start: ") {
		t.Skip("can't mount a file system to fill: " + h.said)
	}
	require.Equal(t, "true; lock "+dir.Name()+"/late: reserve 4096 bytes: no space left on device; true 1; <nil>", h.said)
}

// TestFileSystemWithoutFallocate gets zeros.
func TestFileSystemWithoutFallocate(t *testing.T) {
	h := begin(t, "full", "ramfs", inside(tempDir(t)))
	if strings.HasPrefix(h.said, "mount: ") || strings.HasPrefix(h.said, "start: ") {
		t.Skip("can't mount such a file system: " + h.said)
	}
	require.Equal(t, "4096", h.said)
}
