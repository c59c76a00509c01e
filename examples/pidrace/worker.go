package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/lock"
)

// workerEnv is the variable that makes this program one of the three.
const workerEnv = "PIDRACE_WORKER"

// What a worker is told to do, a line each. It answers with a line.
const (
	doOpen    = "open"     // opens the file, and makes it where there is none
	doLock    = "lock"     // takes flock(2) of what it has open
	doHobLock = "hob lock" // takes it as hob does: and it is no lock unless the path still names the locked file
	doUnlink  = "unlink"
	doKeep    = "keep" // what hob does in place of unlink
	doUnlock  = "unlock"
	doTell    = "tell" // whether it has the lock
)

const (
	fileName = "lock"
	yes      = "has the lock"
	no       = "has not"
)

// worker is one process. It works in its current directory.
type worker struct {
	file  *os.File
	holds bool
}

// work does what it is told until the end of in.
func work(in io.Reader, out io.Writer) int {
	var w worker
	for lines := bufio.NewScanner(in); lines.Scan(); {
		said, err := w.do(lines.Text())
		if err != nil {
			said = "error: " + err.Error()
		}
		fmt.Fprintln(out, said)
	}
	return 0
}

func (w *worker) do(what string) (said string, err error) {
	switch what {
	case doOpen:
		return w.open()
	case doLock, doHobLock:
		return w.lock(what)
	case doUnlink:
		return "removes the file", os.Remove(fileName)
	case doKeep:
		return "leaves the file where it is", nil
	case doUnlock:
		w.holds = false
		return "unlocks, by closing", w.file.Close()
	case doTell:
		if w.holds {
			return yes, nil
		}
		return no, nil
	}
	return "", fmt.Errorf("told to %q", what)
}

func (w *worker) open() (said string, err error) {
	_, err = os.Lstat(fileName)
	said = "opens "
	if errors.Is(err, os.ErrNotExist) {
		said = "makes "
	}
	if w.file, err = os.OpenFile(fileName, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return "", err
	}
	file, err := w.which()
	return said + file, err
}

// lock does not wait: where another has it, or the file is not the lock any more, the worker does not work. A client of hob would begin anew then.
func (w *worker) lock(how string) (said string, err error) {
	if how == doHobLock {
		dir, derr := os.Open(".")
		if derr != nil {
			return "", derr
		}
		defer dir.Close()
		_, err = lock.FromFile(w.file, dir, fileName)
	} else {
		err = unix.Flock(int(w.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	file, ferr := w.which()
	switch {
	case ferr != nil:
		return "", ferr
	case errors.Is(err, lock.ErrHeld), errors.Is(err, unix.EWOULDBLOCK):
		return "is refused the lock of " + file, nil
	case errors.Is(err, lock.ErrReplaced):
		return "has locked what is not the lock any more, and does not work", nil
	case err != nil:
		return "", err
	}
	w.holds = true
	return "locks " + file + ", and works", nil
}

// which names the open file.
func (w *worker) which() (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(w.file.Fd()), &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("file %d", st.Ino), nil
}
