package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// lockPatience is how long a service's lock may be held by nobody who is seen: a process that is about to end has closed its descriptors for those who
// look, and for the kernel only when it gets the processor again; one that is about to be executed has all of ours until then.
const lockPatience = 2 * time.Second

// takeLock takes the service's lock for the run to inherit. Somebody else who has it is a stray
// of an earlier run that dropped its mark: it is ended first.
func (v *svc) takeLock() (*os.File, error) {
	path := filepath.Join(v.sup.o.Locks, v.name+".lock")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	ended := false
	for deadline := time.Now().Add(lockPatience); ; {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline):
			f.Close()
			return nil, v.lockHeld(path, err)
		case ended:
			time.Sleep(lockPause)
		default:
			if err := v.endStrays(); err != nil {
				f.Close()
				return nil, err
			}
			ended, deadline = true, time.Now().Add(lockPatience)
		}
	}
}

// lockPause comes between two tries.
const lockPause = 2 * time.Millisecond

func (v *svc) endStrays() error {
	strays := process.Remains(v.sup.o.ID + "/" + v.name + "/0")
	_, err := strays.Terminate(context.Background(), process.Stop{Signal: syscall.SIGTERM, Grace: v.st.Stop.Timeout, Holders: v.holders()})
	if err != nil {
		return fmt.Errorf("end what is left of an earlier run: %w", err)
	}
	return nil
}

// lockIsFree reports that nobody has the service's lock, which a process of the run has unless it has closed it.
func (v *svc) lockIsFree() bool { return v.tryLock() == nil }

// lockTaken reports that somebody has it for sure.
func (v *svc) lockTaken() bool { return v.tryLock() == unix.EWOULDBLOCK }

// tryLock takes the lock and lets go of it.
func (v *svc) tryLock() error {
	fd, err := unix.Open(filepath.Join(v.sup.o.Locks, v.name+".lock"), unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
}

func (v *svc) lockHeld(path string, err error) error {
	left, _ := process.Remains(v.sup.o.ID + "/" + v.name + "/0").Tree(v.holders())
	if len(left) == 0 {
		return &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return fmt.Errorf("lock %s: held by what is left of an earlier run (%s)", path, pidList(pids(left)))
}
