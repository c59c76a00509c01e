// Package tty is the manager's side of a service's pseudo-terminal, pty(7): it makes one, copies what the service
// writes to a log and to whoever is attached, and passes on what a person types.
//
// The log gets what the service wrote, with the line ends that it meant; who is attached gets every byte as a terminal
// does. Nobody who reads slowly holds the service up but the log.
//
// It never starts or signals a process, understands no escape sequence, and knows nothing of the wire.
package tty

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// What a terminal measures before anybody has looked at it.
const (
	firstRows = 40
	firstCols = 120
)

// Terminal is the manager's side of a service's pseudo-terminal. Its methods may be called by several goroutines at
// once, [Terminal.Pump] by one.
type Terminal struct {
	master *os.File // its open file does not block; descriptors only through SyscallConn: Fd may race with Close

	typing   sync.Mutex // one at a time types
	patience time.Duration

	mu       sync.Mutex
	recent   recent
	attached map[*Attachment]struct{}
	ended    bool
}

// patience is how long Write waits for a service that reads nothing.
const patience = 3 * time.Second

// Open makes a pseudo-terminal of 120 columns and 40 rows, and gives the slave for the process to start: a blocking
// descriptor, close-on-exec, and not the caller's controlling terminal. The caller closes the slave after the start; until then
// the terminal does not end. The caller closes the Terminal.
func Open() (t *Terminal, slave *os.File, err error) {
	m, s, err := pty.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	defer s.Close()
	if t, err = take(m); err != nil {
		return nil, nil, err
	}
	if err = t.Resize(firstRows, firstCols); err == nil {
		// os has opened it for its poller, which would make reads and writes of the service fail with EAGAIN.
		slave, err = duplicate(s, false)
	}
	if err != nil {
		_ = t.Close()
		return nil, nil, err
	}
	return t, slave, nil
}

// FromFile takes over the master that an earlier daemon had, while the service goes on. What was written meanwhile
// comes out of [Terminal.Pump]; what was written before is not known to [Terminal.Attach]. It closes master, also when it fails, as it does
// for anything that is no master.
func FromFile(master *os.File) (*Terminal, error) {
	if err := control(master, checkMaster); err != nil {
		_ = master.Close()
		return nil, fmt.Errorf("take over pseudo-terminal %s: %w", master.Name(), err)
	}
	return take(master)
}

// take makes a Terminal of a duplicate of m, which it closes. m itself may be unknown to the poller.
func take(m *os.File) (*Terminal, error) {
	defer m.Close()
	f, err := duplicate(m, true)
	if err != nil {
		return nil, err
	}
	// Without the poller (its watches used up, epoll(7)) Close would not end a read.
	if err := f.SetDeadline(time.Time{}); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("watch pseudo-terminal %s: %w", m.Name(), err)
	}
	return &Terminal{master: f, patience: patience, attached: map[*Attachment]struct{}{}}, nil
}

// duplicate gives another descriptor for f, close-on-exec, and makes the open file that they share block or not.
func duplicate(f *os.File, nonblocking bool) (*os.File, error) {
	fd := -1
	err := control(f, func(old int) (err error) {
		if fd, err = unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.SetNonblock(fd, nonblocking)
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("duplicate pseudo-terminal %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// control calls do with the descriptor of f, which stays open meanwhile.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if raw.Control(func(fd uintptr) { inner = do(int(fd)) }) != nil {
		return os.ErrClosed // its one error, with a private type
	}
	return inner
}

// File gives a duplicate of the master, for whoever keeps the terminal alive when this process is killed. It shares
// O_NONBLOCK, which stays as it is: os.File.Fd of it does not change that, as the file was not made non-blocking by package os.
// The caller closes it.
func (t *Terminal) File() (*os.File, error) { return duplicate(t.master, true) }

// typed is how much of an input counts as progress.
const typed = 1 << 10

// Write passes on what a person types. It waits while the service does not read and the kernel's buffers are full, but not for
// long: after three seconds without progress the error wraps os.ErrDeadlineExceeded, and n bytes were passed on.
// A service that reads lines never gets one of more than 4095 bytes: the kernel drops the rest (termios(3)).
func (t *Terminal) Write(p []byte) (n int, err error) {
	t.typing.Lock()
	defer t.typing.Unlock()
	for n < len(p) {
		if t.master.SetWriteDeadline(time.Now().Add(t.patience)) != nil {
			err = os.ErrClosed // take has seen that it can be set
			break
		}
		var k int
		k, err = t.master.Write(p[n:min(len(p), n+typed)])
		if n += k; err != nil {
			break
		}
	}
	if err != nil {
		return n, fmt.Errorf("write to the service's terminal: %w", reason(err))
	}
	return n, nil
}

// Resize sets the size. When that is another one, the kernel sends SIGWINCH to the foreground process group
// (ioctl_tty(2)).
func (t *Terminal) Resize(rows, cols uint16) error {
	err := control(t.master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if err != nil {
		return fmt.Errorf("resize the service's terminal: %w", err)
	}
	return nil
}

// Size is what Resize has set last, or the service itself.
func (t *Terminal) Size() (rows, cols uint16, err error) {
	err = control(t.master, func(fd int) error {
		w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err == nil {
			rows, cols = w.Row, w.Col
		}
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("size of the service's terminal: %w", err)
	}
	return rows, cols, nil
}

// Close ends Pump and whatever is attached. When no duplicate of the master is left, the kernel hangs the terminal up: the
// service gets SIGHUP. It may be called again, and then does nothing.
func (t *Terminal) Close() error {
	err := t.master.Close()
	t.end()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Pump copies what the service writes to log, and to whoever is attached. It returns nil when the terminal has ended, because
// no process has it open any more, or was closed; and an error when log fails. It waits for log, and for nobody
// else; Close does not end a write to log. It is called once, and whatever is attached has ended when it returns.
//
// A terminal makes "\n" into "\r\n"; log gets "\n".
func (t *Terminal) Pump(log io.Writer) error {
	defer t.end()
	buf := make([]byte, 16<<10) // the kernel gives 4 KiB at most
	var ends lineEnds
	for {
		n, err := t.master.Read(buf)
		if n > 0 {
			t.show(buf[:n])
		}
		text := ends.mend(buf[:n])
		if err != nil {
			text = append(text, ends.rest()...)
		}
		if len(text) > 0 {
			if _, werr := log.Write(text); werr != nil {
				return fmt.Errorf("write to the log: %w", werr)
			}
		}
		// Linux says EIO when every slave is closed, darwin that the file has ended.
		if errors.Is(err, unix.EIO) || errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from the service's terminal: %w", reason(err))
		}
	}
}

// reason is err without the name of the multiplexer, which every terminal has.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
