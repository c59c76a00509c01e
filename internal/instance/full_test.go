package instance

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// helpFull writes on a disk that is full, a small tmpfs over the working directory that nobody
// else sees, and tells what is there after each step.
func helpFull() (any, error) {
	if err := mountTiny("."); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	dir, err := os.Open(".")
	if err != nil {
		return nil, err
	}
	if err := WriteFile(dir, "f", []byte("old")); err != nil {
		return nil, err
	}
	filler, err := os.Create("filler")
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		return nil, err
	}
	var said []string
	note := func(err error) {
		data, _ := os.ReadFile("f")
		list, _ := Names(dir)
		said = append(said, fmt.Sprintf("%v, %s in %d files", errors.Is(err, unix.ENOSPC), data, len(list)))
	}
	note(WriteFile(dir, "f", make([]byte, 8192)))
	// Room for bytes and no inode for the temporary file.
	if err := os.Truncate("filler", 0); err != nil {
		return nil, err
	}
	var last string
	for n := 0; err == nil || n == 0; n++ {
		last = fmt.Sprint("inode", n)
		err = os.WriteFile(last, nil, 0o600)
	}
	note(WriteFile(dir, "f", []byte("x")))
	// Once there is room again, so that no debris is in the way.
	if err := os.Remove("inode0"); err != nil {
		return nil, err
	}
	note(WriteFile(dir, "f", []byte("new")))
	return strings.Join(said, "\n"), nil
}

// TestFullDiskKeepsTheOldFile: WriteFile says ENOSPC, the old bytes stay, no temporary file does.
func TestFullDiskKeepsTheOldFile(t *testing.T) {
	a := ask(t, "full", os.Geteuid(), t.TempDir(), ownMounts())
	if strings.HasPrefix(a.Err, "mount: ") || strings.HasPrefix(a.Err, "start: ") {
		t.Skip("can't mount a file system to fill: " + a.Err)
	}
	require.Empty(t, a.Err)
	said := strings.Split(a.Text, "\n")
	require.Len(t, said, 3)
	require.Equal(t, "true, old in 2 files", said[0])
	require.Contains(t, said[1], "true, old in ")
	require.Contains(t, said[2], "false, new in ")
	var full, after int
	_, err := fmt.Sscanf(said[1], "true, old in %d files", &full)
	require.NoError(t, err)
	_, err = fmt.Sscanf(said[2], "false, new in %d files", &after)
	require.NoError(t, err)
	require.Equal(t, full-1, after)
}
