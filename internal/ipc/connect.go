package ipc

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ErrSymlink is what Connect answers where a symlink stands in the socket's place.
var ErrSymlink = errors.New("is a symlink")

// Connect connects to the socket name in the open directory dir, which stays
// the caller's. It never blocks for long: connect(2) on a Unix socket succeeds
// or fails at once.
//
// The error is a *fs.PathError, and errors.Is finds the errno in it: ENOENT,
// ECONNREFUSED (nobody listens, or not yet: no reason to unlink anything),
// ENOTSOCK, EISDIR or ErrSymlink (something else has the name), EACCES, EMFILE, ENAMETOOLONG.
// EAGAIN means that the backlog is full, so somebody is alive; its Timeout
// method says true although no time has passed. macOS says ECONNREFUSED then.
func Connect(ctx context.Context, dir *os.File, name string) (*net.UnixConn, error) {
	var c *net.UnixConn
	err := withFd(dir, func(fd int) error {
		if _, err := statSocket(fd, name); err != nil {
			return err
		}
		addr, err := address(dir, fd, name)
		if err != nil {
			return err
		}
		var d net.Dialer
		c, err = d.DialUnix(ctx, "unix", nil, &net.UnixAddr{Name: addr, Net: "unix"})
		return err
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !isErrno(err) {
			err = cause // package net has its own words for it
		}
		return nil, pathError("connect", dir, name, err)
	}
	return c, nil
}

func isErrno(err error) bool {
	_, ok := errors.AsType[unix.Errno](err)
	return ok
}
