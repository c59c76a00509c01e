package process

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const canFreeze = true

// stillPause comes between two looks at a process that is about to stop.
const stillPause = 200 * time.Microsecond

// threadsStill reports whether no thread of the process runs, or will: each is stopped or dead, or waits in the kernel (state D,
// proc_pid_stat(5)) and stops before it comes back from there. One that has called vfork(2) waits so for a child that may be
// stopped already. state is that of one which is neither.
func threadsStill(pid int) (state byte, still bool) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, true // it is gone
	}
	if err != nil {
		return '?', false
	}
	for _, e := range entries {
		text, err := readProc(dir+"/"+e.Name()+"/stat", make([]byte, 0, 512))
		if err != nil {
			continue
		}
		// The state comes after the name in parentheses, which may hold some itself.
		_, rest, _ := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
		if len(rest) > 0 && bytes.IndexByte([]byte("TtZXD"), rest[0]) < 0 {
			return rest[0], false
		}
	}
	return 0, true
}
