package sentry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Descriptor is the number at which a sentry finds its socket.
const Descriptor = 3

// op is what hobd tells its sentry.
type op byte

const (
	opDaemon  op = iota + 1 // I am the process with the pid n
	opHold                  // with a descriptor: keep it, as number n; with a name it is for the next hobd
	opDoor                  // with a descriptor: serve it when I am gone
	opDrop                  // close number n
	opRetire                // I leave, and somebody else starts the next daemon
	opGoodbye               // there is nothing to keep any more
	opUpgrade               // I become another program, which says goodbye when it has a sentry of its own
)

// frame is one message. They have one size, so that a stream socket will do, which is all that darwin has.
type frame struct {
	op   op
	n    uint32
	name string // at most maxName bytes, and none of them zero
}

const (
	maxName   = 80
	frameSize = 8 + maxName // op, three zeros, n, name and zeros
)

func (f frame) bytes() []byte {
	b := make([]byte, frameSize)
	b[0] = byte(f.op)
	binary.LittleEndian.PutUint32(b[4:], f.n)
	copy(b[8:], f.name)
	return b
}

// send writes a frame, with the descriptor fd unless that is negative. It does not wait where the socket does not
// block: unix.EAGAIN says that the other side has not read for long.
func send(socket int, f frame, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	for {
		n, err := unix.SendmsgN(socket, f.bytes(), rights, nil, sendFlags)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n != frameSize {
			err = unix.EAGAIN // the queue took a part of it: the rest will not be understood
		}
		return err
	}
}

// receive reads a frame, and the descriptor that came with it, else -1. It blocks. The end of the other side is
// io.EOF, however it came about.
func receive(socket int) (frame, int, error) {
	buf := make([]byte, frameSize)
	rights := make([]byte, unix.CmsgSpace(4))
	fd := -1
	for have := 0; have < frameSize; {
		n, rn, _, _, err := unix.Recvmsg(socket, buf[have:], rights, recvFlags)
		if err == unix.EINTR {
			continue
		}
		if err == nil && rn > 0 {
			fd = take(rights[:rn], fd)
		}
		if err == unix.ECONNRESET || err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			discard(fd)
			return frame{}, -1, err
		}
		have += n
	}
	return parseFrame(buf), fd, nil
}

// parseFrame reads frameSize bytes.
func parseFrame(b []byte) frame {
	return frame{op: op(b[0]), n: binary.LittleEndian.Uint32(b[4:]), name: nameIn(b[8:])}
}

// nameIn is what stands before the zeros.
func nameIn(b []byte) string {
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name)
}

// take gives the descriptor that the control message holds; more than one are not sent.
func take(control []byte, fd int) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return fd
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, got := range fds {
			discard(fd)
			unix.CloseOnExec(got) // where recvFlags can't: nothing is forked meanwhile
			fd = got
		}
	}
	return fd
}

func discard(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

// openEnd opens a FIFO for a sentry to keep. Not as an *os.File: the runtime's poller would be woken at each write.
func openEnd(path string) (fd int, id fileID, err error) {
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, id, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, id, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return -1, id, fmt.Errorf("open %s: %w", path, errNoFIFO)
	}
	return fd, idOf(&st), nil
}

var errNoFIFO = errors.New("it is not a FIFO")

// fileID names a file, whatever its path.
type fileID struct {
	dev, ino uint64
	pty      int // the masters of all terminals are one device
}

func idOf(st *unix.Stat_t) fileID { return fileID{dev: uint64(st.Dev), ino: st.Ino} }
