package ipc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
)

// backlog is what a stopped daemon takes before clients see EAGAIN; the kernel
// caps it at net.core.somaxconn.
const backlog = 4096

// Listener is a socket that listens under a temporary name until Publish. Its
// methods may be called from several goroutines.
type Listener struct {
	dir        *os.File
	name, temp string
	id         inode // of the socket's file
	l          *net.UnixListener
	closed     chan struct{}
	gate       gate

	mu     sync.Mutex // guards public, done
	public bool       // Publish succeeded once
	done   bool       // Close was called
}

// Listen makes a socket in dir that listens, with mode 0600 from its birth, and
// is not yet public. dir stays the caller's and must stay open until Close.
//
// Call it after the last fork: what clients read as their peer is the process
// that called listen(2).
func Listen(dir *os.File, name string) (*Listener, error) {
	l := &Listener{dir: dir, name: name, closed: make(chan struct{})}
	l.gate.kick = func(t time.Time) error { return l.l.SetDeadline(t) }
	l.temp = fmt.Sprintf("%s%d-%08x", tempPrefix(name), os.Getpid(), rand.Uint32())
	if fault.Mutant("the socket is bound where it is public") {
		l.temp = name
		_ = os.Remove(filepath.Join(dir.Name(), name))
	}
	if err := withFd(dir, l.listen); err != nil {
		return nil, pathError("listen", dir, name, err)
	}
	return l, nil
}

// Adopt takes over a public socket from an earlier process of this daemon: what its File and ID gave. It takes over f, also when
// it fails. dir is as for Listen.
func Adopt(dir *os.File, name string, f *os.File, id [2]uint64) (*Listener, error) {
	defer f.Close() // FileListener makes a duplicate
	l := &Listener{dir: dir, name: name, id: inode{id[0], id[1]}, closed: make(chan struct{}), public: true}
	l.gate.kick = func(t time.Time) error { return l.l.SetDeadline(t) }
	nl, err := net.FileListener(f)
	if err != nil {
		return nil, pathError("adopt", dir, name, err)
	}
	var ok bool
	if l.l, ok = nl.(*net.UnixListener); !ok {
		nl.Close()
		return nil, pathError("adopt", dir, name, unix.ENOTSOCK)
	}
	l.l.SetUnlinkOnClose(false)
	return l, nil
}

// ID is the device and the inode of the socket's file.
func (l *Listener) ID() [2]uint64 { return [2]uint64{l.id.dev, l.id.ino} }

// File gives a duplicate of the socket, which the caller closes.
func (l *Listener) File() (*os.File, error) { return l.l.File() }

// Suspend has Accept take nothing more until Resume: who connects waits in the backlog. It returns when the caller of Accept has
// everything that was accepted, or when ctx ends, and then undoes it.
func (l *Listener) Suspend(ctx context.Context) error {
	select {
	case <-l.gate.shut():
		return nil
	case <-l.closed:
		return net.ErrClosed
	case <-ctx.Done():
		l.gate.open()
		return ctx.Err()
	}
}

// Resume goes on after Suspend.
func (l *Listener) Resume() { l.gate.open() }

func tempPrefix(name string) string { return name + ".new-" }

func (l *Listener) listen(dirfd int) error {
	addr, err := bindAddress(l.dir, dirfd, l.temp)
	if err != nil {
		return err
	}
	if l.l, err = bind(addr); err != nil {
		return err
	}
	if err := l.settle(dirfd); err != nil {
		_ = l.l.Close()
		_ = unix.Unlinkat(dirfd, l.temp, 0)
		return err
	}
	return nil
}

// bind makes the socket and its file. The file's mode is the socket's mode less
// the umask, so a mode set before bind(2) leaves no instant at which others
// could connect.
func bind(addr string) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error { return control(rc, setSocketMode) }}
	nl, err := lc.Listen(context.Background(), "unix", addr)
	if err != nil {
		return nil, err
	}
	l := nl.(*net.UnixListener)
	// The default unlinks by name on Close, whosever the name is by then.
	l.SetUnlinkOnClose(false)
	return l, nil
}

// settle learns what the file is, and makes it and the backlog what they must be.
func (l *Listener) settle(dirfd int) (err error) {
	if l.id, err = statSocket(dirfd, l.temp); err != nil {
		return err
	}
	// For a system that ignores a socket's mode, and for a umask such as 0277.
	if err := unix.Fchmodat(dirfd, l.temp, 0o600, 0); err != nil {
		return err
	}
	rc, err := l.l.SyscallConn()
	if err != nil {
		return err
	}
	return control(rc, func(fd int) error { return unix.Listen(fd, backlog) })
}

func control(rc syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// Publish gives the socket its public name by rename(2), replacing whatever
// file had it; a directory is an error. Only the holder of the instance's lock
// may call it. After success a second call is a no-op while the name is still
// this socket, and an error once it is not: a socket can be named only once,
// so listen anew then.
func (l *Listener) Publish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := withFd(l.dir, func(dirfd int) error {
		switch {
		case l.done:
			return net.ErrClosed
		case l.public && l.named(dirfd, l.name):
			return nil
		case l.public:
			return fmt.Errorf("%w: the name was lost after it was published", unix.ENOENT)
		}
		return unix.Renameat(dirfd, l.temp, dirfd, l.name)
	})
	if err != nil {
		return pathError("publish", l.dir, l.name, err)
	}
	l.public = true
	return nil
}

// Name is the name that the socket has in its directory now: the temporary one
// until Publish has succeeded.
func (l *Listener) Name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.public {
		return l.name
	}
	return l.temp
}

// Published says whether the public name is this socket now. It is false after
// Close: only an open socket keeps its inode number from being used again.
func (l *Listener) Published() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return false
	}
	err := withFd(l.dir, func(dirfd int) error {
		if !l.named(dirfd, l.name) {
			return unix.ENOENT
		}
		return nil
	})
	return err == nil
}

// named says whether name is this socket's file.
func (l *Listener) named(dirfd int, name string) bool {
	id, err := statSocket(dirfd, name)
	return err == nil && id == l.id
}

// Unpublish unlinks the public name if it is still this socket; if it is not,
// nothing happens. Call it before Close, while holding the instance's lock:
// the lock is what keeps the name from changing between the look and the
// unlink. Clients in the backlog are still there for Accept.
func (l *Listener) Unpublish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := withFd(l.dir, func(dirfd int) error {
		if l.done {
			return net.ErrClosed
		}
		if !l.named(dirfd, l.name) {
			return nil
		}
		return unix.Unlinkat(dirfd, l.name, 0)
	})
	if err != nil {
		return pathError("unpublish", l.dir, l.name, err)
	}
	return nil
}

// Close stops listening; connections in the backlog are reset. It leaves the
// public name alone, whosever it is, and removes the temporary one if Publish
// never succeeded. Further calls do nothing and return nil.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return nil
	}
	l.done = true
	close(l.closed)
	l.gate.open()
	if !l.public {
		_ = withFd(l.dir, func(dirfd int) error {
			if l.named(dirfd, l.temp) {
				return unix.Unlinkat(dirfd, l.temp, 0)
			}
			return nil
		})
	}
	if err := l.l.Close(); err != nil {
		return pathError("close", l.dir, l.name, err)
	}
	return nil
}
