package daemon

import (
	"os"
	"path/filepath"
	"time"

	"github.com/hobworks/hob/internal/instance"
)

// lastSeen is when the last sign of life of a hobd was that did not leave in good order, which removes the pid file;
// zero when there is none. Call it before this process writes anything. The sentry notes the end at once, in hobd.log;
// without one, what hobd wrote last is the best there is.
func lastSeen(inst instance.Instance) time.Time {
	last := modified(inst.Path(instance.PidName))
	if last.IsZero() {
		return last
	}
	for _, pattern := range []string{inst.Path(instance.DaemonLog), inst.Path(instance.StateName, "*"), inst.Path(instance.LogsName, "*", "*")} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if at := modified(path); at.After(last) {
				last = at
			}
		}
	}
	return last
}

func modified(path string) time.Time {
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() {
		return time.Time{}
	}
	return fi.ModTime()
}
