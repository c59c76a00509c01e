package lock

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
)

// Guard is an abstract Unix socket (unix(7)) that is bound before the lock is taken and handed
// over with it. No file stands for it, so nobody can delete it: it keeps "at most one" strict
// when the lock file is removed under a living daemon. It is free when every copy is closed.
type Guard struct {
	f    *os.File
	once sync.Once
}

// backlog holds the looks of a whole herd until the daemon serves them.
const backlog = 4096

// guardPause is how long nobody is accepted for want of descriptors or memory.
const guardPause = 100 * time.Millisecond

// TryGuard binds the guard of key and listens. ErrHeld says that a process of this user has
// it. When a stranger squats on the name, or abstract sockets are not to be had, it gives
// (nil, nil): the lock alone decides then, and the daemon's log names the squatter.
func TryGuard(key string) (*Guard, error) {
	if fault.Mutant("no guard") {
		return nil, nil
	}
	// A name that is taken and does not answer is being bound or given up by another starter at
	// this instant. To go on without a guard then would make it worthless in a stampede
	// (TestGuardOrHeldNeverNeither). A squatter who never listens costs the whole wait, a second and more: one
	// who was about to listen can be kept from it for long by a busy machine.
	for range 1000 {
		g, err := bindGuard(key)
		if !errors.Is(err, unix.EADDRINUSE) {
			return g, err
		}
		_, uid, err := look(key)
		switch {
		case err == nil && uid == os.Geteuid():
			return nil, ErrHeld
		case err != unix.ECONNREFUSED:
			return nil, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, nil
}

// bindGuard gives (nil, nil) where abstract sockets are not to be had.
func bindGuard(key string) (*Guard, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("guard: socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + key})
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err == nil {
		return &Guard{f: os.NewFile(uintptr(fd), "guard")}, nil
	}
	unix.Close(fd)
	if err == unix.EADDRINUSE {
		return nil, err
	}
	return nil, nil
}

// GuardFromFD adopts an inherited guard and sets close-on-exec; a negative fd is no guard.
// Listening once more makes this process the one that LookGuard names. Handing a file to a
// child clears O_NONBLOCK on the description that both share, so it is set again before the
// poller sees it.
func GuardFromFD(fd int) *Guard {
	if fd < 0 {
		return nil
	}
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true)
	_ = unix.Listen(fd, backlog)
	return &Guard{f: os.NewFile(uintptr(fd), "guard")}
}

// LookGuard reports whether the guard of key is bound, and by whom. When its queue is full
// nobody can be named: then it answers that it is not held, and the lock alone decides.
func LookGuard(key string) (pid, uid int, held bool) {
	pid, uid, err := look(key)
	return pid, uid, err == nil
}

// look fails with ECONNREFUSED when nobody has the name, or has it and does not listen.
func look(key string) (pid, uid int, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + key}); err != nil {
		return 0, 0, err
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	return int(cred.Pid), int(cred.Uid), nil
}

// Serve accepts and closes the looks of others, so that the queue never fills, until the guard
// is closed. It sleeps in the poller in between.
func (g *Guard) Serve() {
	if g == nil {
		return
	}
	raw, err := g.f.SyscallConn()
	if err != nil {
		return
	}
	for {
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			c, _, err := unix.Accept4(int(fd), unix.SOCK_CLOEXEC)
			if err == unix.EAGAIN {
				return false
			}
			switch err {
			case nil:
				unix.Close(c)
			case unix.EINTR, unix.ECONNABORTED:
			default:
				failed = err
			}
			return true
		})
		switch {
		case err != nil: // it is closed
			return
		case failed == unix.EMFILE || failed == unix.ENFILE || failed == unix.ENOMEM || failed == unix.ENOBUFS:
			time.Sleep(guardPause) // until then the queue has room for a whole herd
		case failed != nil: // no guard at all
			return
		}
	}
}

// File is the bound socket, to be handed to a child process; nil for no guard.
func (g *Guard) File() *os.File {
	if g == nil {
		return nil
	}
	return g.f
}

// Close closes this process's descriptor. A nil guard is fine.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	var err error
	g.once.Do(func() { err = g.f.Close() })
	return err
}
