package instance

import (
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Watch tells when a name in one of dirs came, went or changed hands, and when one of selves
// itself was moved or removed, or one of above, as far as this user may watch those. The channel
// has room for one signal: a receiver looks for itself what is so. An unlinked file that is
// still open shows as IN_ATTRIB, not as IN_DELETE_SELF (inotify(7)), so the directories are
// watched. stop frees the watch and closes the channel; call it once. Without inotify
// (fs.inotify.max_user_instances used up) the error says so and the caller polls.
func Watch(dirs, selves, above []string) (changed <-chan struct{}, stop func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	const self = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	const names = self | unix.IN_ATTRIB | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	for i, d := range slices.Concat(dirs, selves, above) {
		mask := uint32(names)
		switch {
		case i >= len(dirs)+len(selves):
			mask = self &^ unix.IN_ONLYDIR // a link that leads to one of them, too
		case i >= len(dirs):
			mask = self
		}
		if _, err := unix.InotifyAddWatch(fd, d, mask); err != nil && i < len(dirs)+len(selves) {
			f.Close()
			return nil, nil, &os.PathError{Op: "watch", Path: d, Err: err}
		}
	}
	c := make(chan struct{}, 1)
	go func() {
		defer close(c)
		buf := make([]byte, 16<<10)
		for {
			if _, err := f.Read(buf); err != nil {
				return
			}
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	var once sync.Once
	return c, func() { once.Do(func() { f.Close() }) }, nil
}
