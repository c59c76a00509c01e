// Package instance turns a project directory into the identity of its daemon and the places of
// its files: root → id → paths. The same project gives the same instance from any shell, cron
// job, editor or symlink, because nothing but the user's home (or an explicit override), the
// canonical root and the name goes into it. It checks owner, mode, kind and file system of what
// it opens. It never dials, locks, signals or forks.
package instance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// Names below the instance directory.
const (
	SocketName = "hob.sock"
	PidName    = "hob.pid"
	MetaName   = "meta.json"
	DaemonLog  = "hobd.log"
	StateName  = "state"       // one JSON file a service
	EnvName    = "env"         // environments by content hash
	LocksName  = "svc"         // one lock a service
	FIFOName   = "fifo"        // one FIFO a service
	NotifyName = "notify"      // one sd_notify(3) socket a service
	SentryName = "sentry.sock" // where the sentry hands over what it has kept
	SockName   = "sock"        // one listening socket for a service that was given none by name
	LogsName   = "log"         // one directory a service
)

const prefix = "instance-"

// Instance is one daemon's identity and the paths of its files. It is a value: making one
// creates nothing and opens nothing.
type Instance struct {
	ID    string // 16 hexadecimal digits
	Name  string // of the program that owns it; "" is hob itself
	Root  Root
	State string // absolute path of the state directory, "…/hob"
	Moved string // why State is not the usual place; "" when it is
}

// New gives the instance called name of the project at root.
func New(root Root, name string) (Instance, error) {
	state, moved, err := stateDir()
	if err != nil {
		return Instance{}, err
	}
	return Instance{ID: id(root.Path, name), Name: name, Root: root, State: state, Moved: moved}, nil
}

// id hashes root and name; the NUL can be in neither.
func id(root, name string) string {
	sum := sha256.Sum256([]byte(root + "\x00" + name))
	return hex.EncodeToString(sum[:8])
}

// Is reports whether it is that of a project's path and a name. What JSON can't hold of a path is lost on the way through a file.
func (i Instance) Is(root, name string) bool { return i.ID == id(root, name) }

// LockName is the name of the lock file in the state directory. It lies beside the instance
// directory, so that removing the directory can never remove the lock.
func (i Instance) LockName() string { return prefix + i.ID + ".lock" }

// DirName is the name of the instance directory in the state directory.
func (i Instance) DirName() string { return prefix + i.ID }

// LockPath is the path of the lock file.
func (i Instance) LockPath() string { return filepath.Join(i.State, i.LockName()) }

// Dir is the path of the instance directory.
func (i Instance) Dir() string { return filepath.Join(i.State, i.DirName()) }

// Path is the path of a name below the instance directory.
func (i Instance) Path(name ...string) string {
	return filepath.Join(append([]string{i.Dir()}, name...)...)
}

// Key identifies the instance among all state directories of a machine; it names the guard
// socket. dir is the open state directory, which is one user's: his number is left out because it
// is another one inside a user namespace.
func (i Instance) Key(dir *os.File) (string, error) {
	dev, ino, err := fileID(dir)
	if err != nil {
		return "", fmt.Errorf("stat %s: %w", dir.Name(), err)
	}
	return fmt.Sprintf("hob/%s/%x:%x", i.ID, dev, ino), nil
}

// All lists the ids that have a directory in the state directory. An absent state directory
// has none.
func All() (state string, ids []string, err error) {
	state, _, err = stateDir()
	if err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(state)
	if os.IsNotExist(err) {
		return state, nil, nil
	}
	if err != nil {
		return state, nil, err
	}
	for _, e := range entries {
		if id, ok := idOf(e.Name()); ok && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return state, ids, nil
}

func idOf(name string) (string, bool) {
	if len(name) != len(prefix)+16 || name[:len(prefix)] != prefix {
		return "", false
	}
	for _, c := range name[len(prefix):] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return name[len(prefix):], true
}

// ByID gives the instance of an id that All listed; its Root and Name are not known.
func ByID(id string) (Instance, error) {
	if _, ok := idOf(prefix + id); !ok {
		return Instance{}, fmt.Errorf("instance %q: not 16 hexadecimal digits", id)
	}
	state, moved, err := stateDir()
	if err != nil {
		return Instance{}, err
	}
	return Instance{ID: id, State: state, Moved: moved}, nil
}
