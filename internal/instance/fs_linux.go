package instance

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// defaultState is the XDG state directory below the home directory.
const defaultState = ".local/state"

// remote file systems: flock(2) is local to the client, missing or able to hang there, and
// through FUSE it is another lock than on the file beneath.
var remote = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.V9FS_MAGIC:       "9p",
	unix.FUSE_SUPER_MAGIC: "FUSE",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.CODA_SUPER_MAGIC: "Coda",
	0x61756673:            "aufs",
}

// remoteFS looks at the file system of the nearest ancestor of dir that exists.
func remoteFS(dir string) (string, bool) {
	var st unix.Statfs_t
	for d := dir; ; d = filepath.Dir(d) {
		if unix.Statfs(d, &st) == nil {
			name, ok := remote[int64(st.Type)]
			return name, ok
		}
		if d == filepath.Dir(d) {
			return "", false
		}
	}
}

// FSName says what kind of file system path is on, for people.
func FSName(path string) string {
	if name, ok := remoteFS(path); ok {
		return name + " (not trusted for locks)"
	}
	return "local"
}
