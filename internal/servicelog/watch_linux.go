package servicelog

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// slowPoll is behind inotify, which a file system need not serve, inotify(7).
	slowPoll = time.Second

	// fastPoll is where there is no inotify: fs.inotify.max_user_instances is 128 for
	// all programs of a user.
	fastPoll = 50 * time.Millisecond
)

// A watch wakes up when something happens in a directory. The zero watch is not open.
type watch struct {
	file   *os.File
	opened bool
}

// open begins to watch; only the first call does something.
func (w *watch) open(dir *os.File) {
	if w.opened {
		return
	}
	w.opened = true
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	// By descriptor: the path may have come to name another directory.
	name := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if _, err := unix.InotifyAddWatch(fd, name, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE); err != nil {
		unix.Close(fd)
		return
	}
	w.file = os.NewFile(uintptr(fd), "inotify")
}

// wait returns when something may have happened, or when ctx ends.
func (w *watch) wait(ctx context.Context) {
	if w.file == nil {
		pollWait(ctx, fastPoll)
		return
	}
	_ = w.file.SetReadDeadline(time.Now().Add(slowPoll))
	// A late one disturbs only the next wait, which then returns early, as it may.
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var events [16 * (unix.SizeofInotifyEvent + unix.NAME_MAX + 1)]byte
	_, _ = w.file.Read(events[:])
}

func (w *watch) close() {
	if w.file != nil {
		w.file.Close()
	}
}
