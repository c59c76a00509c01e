// Package lock holds the one lock of an instance, and beside it the guard and the attempt
// record. The lock is flock(2) on a file that is never unlinked, never truncated and never
// renamed over; it belongs to the open file description, so it survives exec and is inherited
// on purpose: the client that starts a daemon takes it and hands it over. Whoever holds it
// knows that no other daemon lives. It is released by closing, that is by exit; the package
// never calls LOCK_UN, which would drop a daemon's inherited lock too, and never locks to look.
package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
)

// ErrHeld says that another process has the lock or the guard.
var ErrHeld = errors.New("held by another process")

// ErrReplaced says that the lock file at its path is not the one that is locked any more.
var ErrReplaced = errors.New("the lock file was removed or replaced")

// Size of the lock file: room for the attempt record, allocated when the file is made, so that
// a failure can be recorded on a disk that is full.
const Size = 4096

// Lock is a held lock. Its methods may be called by several goroutines.
type Lock struct {
	path string
	f    *os.File
}

func newLock(f, dir *os.File, name string) *Lock {
	return &Lock{path: filepath.Join(dir.Name(), name), f: f}
}

// TryAcquire takes the lock file name in the open directory dir, and makes it when missing. It
// does not wait: ErrHeld says that another has it. The descriptor has close-on-exec; the caller
// closes the lock.
func TryAcquire(dir *os.File, name string) (*Lock, error) {
	// The file can be removed or replaced between open and flock; each round is one such
	// removal that was seen, so this ends unless somebody removes it in a loop.
	for range 100 {
		f, err := open(dir, name)
		if err != nil {
			return nil, err
		}
		if err := flock(f); err != nil {
			f.Close()
			return nil, lockError(dir, name, err)
		}
		l := newLock(f, dir, name)
		err = l.Verify()
		if errors.Is(err, ErrReplaced) {
			f.Close()
			continue
		}
		if err == nil {
			err = reserve(f)
		}
		if err != nil {
			f.Close()
			return nil, lockError(dir, name, err)
		}
		return l, nil
	}
	return nil, lockError(dir, name, ErrReplaced)
}

// FromFile adopts a lock that was inherited as f, which is then the lock's: it sets
// close-on-exec, takes the lock again (no more than a check when it is held), and verifies that
// the path still names it. Where that fails there is a lock nevertheless, of the file that the path has named.
func FromFile(f *os.File, dir *os.File, name string) (*Lock, error) {
	if !fault.Mutant("children inherit the daemon's lock") {
		unix.CloseOnExec(int(f.Fd()))
	}
	if err := flock(f); err != nil {
		return nil, lockError(dir, name, err)
	}
	l := newLock(f, dir, name)
	return l, l.Verify()
}

// Current reports whether the lock's path is known to still name the locked file.
func (l *Lock) Current() bool { return l.Verify() == nil }

// Verify looks whether the lock's path still names the locked file. The error wraps ErrReplaced when it does not; any other one says that
// nobody can tell. It goes by the path, not by the open directory: where that was moved away, clients make another one in its place. It costs a
// microsecond; every answer that says "ready" asks it after the request came in.
func (l *Lock) Verify() error {
	if fault.Mutant("the lock's inode is not compared") {
		return nil
	}
	var have, named unix.Stat_t
	err := unix.Fstat(int(l.f.Fd()), &have)
	if err == nil {
		err = unix.Lstat(l.path, &named)
	}
	if err == unix.ENOENT || err == nil && (have.Dev != named.Dev || have.Ino != named.Ino) {
		err = ErrReplaced
	}
	if err != nil {
		return pathError(l.path, err)
	}
	return nil
}

// In reports whether the locked file is the one of its name in the open directory, wherever that is.
func (l *Lock) In(dir *os.File) bool {
	var have, named unix.Stat_t
	return unix.Fstat(int(l.f.Fd()), &have) == nil && unix.Fstatat(int(dir.Fd()), filepath.Base(l.path), &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		have.Dev == named.Dev && have.Ino == named.Ino
}

// Deleted reports that the locked file has no name any more.
func (l *Lock) Deleted() bool {
	var st unix.Stat_t
	return unix.Fstat(int(l.f.Fd()), &st) == nil && st.Nlink == 0
}

// File is the locked file, to be handed to a child process. It stays the lock's.
func (l *Lock) File() *os.File { return l.f }

// Close closes this process's descriptor. The lock is free when every copy is closed.
func (l *Lock) Close() error { return l.f.Close() }

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == unix.EWOULDBLOCK {
			return ErrHeld
		}
		if err != unix.EINTR {
			return err
		}
	}
}

// open opens or makes the lock file. O_RDWR: over NFS flock needs it, and the record too.
func open(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err == unix.ELOOP {
		err = errors.New("it is a symlink")
	}
	if err != nil {
		return nil, lockError(dir, name, err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name))
	if err := check(f); err != nil {
		f.Close()
		return nil, lockError(dir, name, err)
	}
	return f, nil
}

// check verifies that f is a regular file of ours with one name.
func check(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is not a regular file")
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to uid %d, not to you", st.Uid)
	case st.Nlink > 1:
		return errors.New("it has another name (a hard link)")
	case st.Mode&0o077 != 0:
		return fmt.Errorf("its mode is %04o, others could lock it", st.Mode&0o777)
	}
	return nil
}

// reserve gives the locked file its size. Not before it is locked: where room can't be reserved
// zeros are written, and they must not fall on a holder's record (TestOnlyAHolderWrites).
func reserve(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Size >= Size {
		return nil
	}
	return allocate(f)
}

func lockError(dir *os.File, name string, err error) error {
	return pathError(filepath.Join(dir.Name(), name), err)
}

func pathError(path string, err error) error { return &fs.PathError{Op: "lock", Path: path, Err: err} }
