package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// detachKey is Ctrl-\; typed twice it detaches.
const detachKey = 0x1c

// detacher looks for the two keys in what is typed.
type detacher struct{ held bool }

// scan gives what of p is to be passed on, in memory of its own, and whether the person detaches: then nothing that follows is.
// A first key at the end is held back until the next byte is known.
func (d *detacher) scan(p []byte) (pass []byte, detach bool) {
	for _, c := range p {
		if c == detachKey && d.held {
			return pass, true
		}
		if d.held {
			pass = append(pass, detachKey)
		}
		if d.held = c == detachKey; !d.held {
			pass = append(pass, c)
		}
	}
	return pass, false
}

// keyboard reads what is typed, and can be told to stop, which a blocking read of a terminal cannot.
type keyboard struct {
	in     *os.File
	person bool // in is a terminal: the person can detach
	wake   *os.File
	stop   *os.File
}

var errDetached = errors.New("detached")

func newKeyboard(in *os.File, person bool) (*keyboard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read the terminal: %w", err)
	}
	return &keyboard{in: in, person: person, wake: r, stop: w}, nil
}

// read calls pass with what was typed, until the file ends or stop is closed: nil; the person detaches: errDetached; or a
// terminal has gone.
func (k *keyboard) read(pass func([]byte)) error {
	defer k.wake.Close()
	fd, wake := int(k.in.Fd()), int(k.wake.Fd())
	buf := make([]byte, 4<<10)
	var keys detacher
	for {
		ready, err := readable(fd, wake)
		if err != nil {
			return fmt.Errorf("wait for the terminal: %w", err)
		}
		if !ready {
			return nil
		}
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN:
			continue
		case err == nil && n == 0 && k.person:
			err = io.ErrUnexpectedEOF // it was hung up
		case err == nil && n == 0:
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the terminal: %w", err)
		}
		typed, detach := bytes.Clone(buf[:n]), false
		if k.person {
			typed, detach = keys.scan(buf[:n])
		}
		if len(typed) > 0 {
			pass(typed)
		}
		if detach {
			return errDetached
		}
	}
}

// readable waits until fd is, or wake, which says no. It is select(2), because poll(2) of darwin does not know every device.
func readable(fd, wake int) (bool, error) {
	if max(fd, wake) >= unix.FD_SETSIZE {
		return false, fmt.Errorf("descriptor %d: %w", max(fd, wake), unix.EBADF)
	}
	for {
		var set unix.FdSet
		set.Set(fd)
		set.Set(wake)
		_, err := unix.Select(max(fd, wake)+1, &set, nil, nil, nil)
		if err == nil {
			return !set.IsSet(wake), nil
		}
		if err != unix.EINTR {
			return false, err
		}
	}
}
