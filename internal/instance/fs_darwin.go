package instance

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// defaultState is the state directory below the home directory.
const defaultState = "Library/Application Support"

// remoteFS looks at the file system of the nearest ancestor of dir that exists; what is not
// local, MNT_LOCAL of statfs(2), is remote.
func remoteFS(dir string) (string, bool) {
	var st unix.Statfs_t
	for d := dir; ; d = filepath.Dir(d) {
		if unix.Statfs(d, &st) == nil {
			return unix.ByteSliceToString(st.Fstypename[:]), st.Flags&unix.MNT_LOCAL == 0
		}
		if d == filepath.Dir(d) {
			return "", false
		}
	}
}

// FSName says what kind of file system path is on, for people.
func FSName(path string) string {
	name, remote := remoteFS(path)
	if remote {
		return name + " (not trusted for locks)"
	}
	return "local"
}
