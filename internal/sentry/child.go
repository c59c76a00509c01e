package sentry

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// Command is how a sentry is started: a program that calls [Take].
type Command struct {
	Program func() (string, error) // its absolute path, asked at each start
	Args    []string               // the whole argv
	Env     []string               // the whole environment

	// Output opens what is its stdout and stderr; nil: /dev/null.
	Output func() (*os.File, error)
}

// child is a sentry as hobd sees it.
type child struct {
	proc   *process.Process
	socket int
	began  time.Time
}

// farewell is how long a sentry may take to read what it is sent, and to go.
const farewell = time.Second

// start starts a sentry and tells it who we are.
func (c Command) start() (*child, error) {
	path, err := c.Program()
	if err != nil {
		return nil, err
	}
	near, far, err := pair()
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(far), "sentry")
	defer theirs.Close()
	spec := process.Spec{Path: path, Args: c.Args, Env: c.Env, Dir: "/",
		Extra: []process.Extra{{FD: Descriptor, File: theirs}}}
	if c.Output != nil {
		if spec.Output, err = c.Output(); err != nil {
			unix.Close(near)
			return nil, fmt.Errorf("open the sentry's log: %w", err)
		}
		defer spec.Output.Close()
	}
	p, err := process.Start(spec)
	if err != nil {
		unix.Close(near)
		return nil, err
	}
	s := &child{proc: p, socket: near, began: time.Now()}
	err = unix.SetNonblock(near, true)
	if err == nil {
		err = s.send(frame{op: opDaemon, n: uint32(os.Getpid())}, -1)
	}
	if err != nil {
		s.dismiss()
		return nil, fmt.Errorf("send to the sentry: %w", err)
	}
	return s, nil
}

// done is closed when the sentry has ended. There is none: never.
func (c *child) done() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.proc.Done()
}

// who is the sentry's pid and start time.
func (c *child) who() string { return fmt.Sprintf("%d %d\n", c.proc.ID().Pid, c.proc.ID().Start) }

// Other reports whether what a keeper has noted is another process than this one, and that one lives: then it has
// taken over all that this one keeps.
func Other(who string) bool {
	var pid int
	var start uint64
	if _, err := fmt.Sscanf(who, "%d %d", &pid, &start); err != nil || pid == os.Getpid() {
		return false
	}
	info, err := process.Stat(pid)
	return err == nil && !info.Dead() && info.Start == start
}

func (c *child) kill() { _ = c.proc.Signal(syscall.SIGKILL) }

// send sends a frame. It waits while the sentry has not read what came before, but not for long: a stopped one
// must not hold hobd up.
func (c *child) send(f frame, fd int) error {
	for end := time.Now().Add(farewell); ; {
		err := send(c.socket, f, fd)
		left := time.Until(end).Milliseconds()
		if err != unix.EAGAIN || left <= 0 {
			return err
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(c.socket), Events: unix.POLLOUT}}, int(left))
	}
}

// dismiss sends the sentry away; one that does not go is killed.
func (c *child) dismiss() {
	if c.send(frame{op: opGoodbye}, -1) != nil || !c.gone() {
		c.kill()
		c.gone()
	}
	c.release()
}

// gone waits for the sentry's end, and not for long.
func (c *child) gone() bool {
	t := time.NewTimer(farewell)
	defer t.Stop()
	select {
	case <-c.proc.Done():
		return true
	case <-t.C:
		return false
	}
}

// release lets go of a sentry and its socket.
func (c *child) release() (how process.Exit, lived time.Duration) {
	unix.Close(c.socket)
	return c.leave()
}

// leave lets go of a sentry, and its socket ends with this process.
func (c *child) leave() (how process.Exit, lived time.Duration) {
	how = c.proc.Exit()
	_ = c.proc.Release()
	return how, time.Since(c.began)
}
