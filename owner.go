package hob

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hobworks/hob/internal/instance"
)

// ownerHint is the way out where something of an instance belongs to somebody else, as after a call with sudo that kept HOME; "" where
// nothing does.
func ownerHint(i instance.Instance) string {
	path, uid := foreign(i.State)
	if path == "" {
		path, uid = foreign(i.LockPath())
	}
	if path == "" {
		_ = filepath.WalkDir(i.Dir(), func(at string, _ fs.DirEntry, _ error) error {
			if path, uid = foreign(at); path != "" {
				return fs.SkipAll
			}
			return nil
		})
	}
	if path == "" {
		return ""
	}
	return fmt.Sprintf("%s belongs to uid %d; take it back with \"sudo chown -R %d %s\"", path, uid, os.Geteuid(), i.State)
}

// foreign gives the path back with its owner if that is somebody else.
func foreign(path string) (string, uint32) {
	fi, err := os.Lstat(path)
	if err != nil {
		return "", 0
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return "", 0
	}
	return path, st.Uid
}
