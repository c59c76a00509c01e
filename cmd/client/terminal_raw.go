package client

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// rawTerminal is a terminal that gives each key as it is typed, and shows what is written as it is.
type rawTerminal struct {
	fd     int
	before unix.Termios
}

// makeRaw makes a terminal raw; nil when f is none. The caller restores it.
func makeRaw(f *os.File) (*rawTerminal, error) {
	if !isTerminal(f) {
		return nil, nil
	}
	r := &rawTerminal{fd: int(f.Fd())}
	before, err := unix.IoctlGetTermios(r.fd, getTermios)
	if err == nil {
		r.before = *before
		err = r.enter()
	}
	if err != nil {
		return nil, fmt.Errorf("make the terminal raw: %w", err)
	}
	return r, nil
}

// enter does what cfmakeraw(3) does. nil: nothing.
func (r *rawTerminal) enter() error {
	if r == nil {
		return nil
	}
	t := r.before
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB
	t.Cflag |= unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return r.set(&t)
}

// restore makes it what it was. What fails is a terminal that is gone. nil: nothing.
func (r *rawTerminal) restore() {
	if r != nil {
		_ = r.set(&r.before)
	}
}

// set leaves a terminal alone that is another job's now: that one has its own modes, and to set them from the background
// would stop this process (termios(3), SIGTTOU).
func (r *rawTerminal) set(t *unix.Termios) error {
	if group, err := unix.IoctlGetInt(r.fd, unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
		return nil
	}
	for {
		if err := unix.IoctlSetTermios(r.fd, setTermios, t); err != unix.EINTR {
			return err
		}
	}
}

// terminalSize is the size of the first that is a terminal and knows it.
func terminalSize(files ...*os.File) (rows, cols int, ok bool) {
	for _, f := range files {
		w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err == nil && w.Row > 0 && w.Col > 0 {
			return int(w.Row), int(w.Col), true
		}
	}
	return 0, 0, false
}
