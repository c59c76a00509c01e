package sentry

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// End is why a watch is over.
type End int

// The ends of a watch.
const (
	Dismissed End = iota // hobd has nothing to keep any more
	Retired              // hobd left in good order, and somebody else starts the next one
	Orphaned             // hobd is gone without a word
)

// Post is where a sentry stands: the socket from hobd, the ends that it keeps, and hobd itself. It is for one
// goroutine.
type Post struct {
	socket int
	ends   map[uint32]int   // read ends of FIFOs
	files  map[uint32]named // for the next hobd
	door   int              // -1: there is none
	served chan struct{}    // closed when nobody is served at the door any more; nil: nobody has been
	pid    int              // of hobd
	daemon *process.Process // nil when it was gone before it could be opened
	leaves bool             // it has said that it does

	upgrading bool          // it has said that it becomes another program
	patience  time.Duration // for that one
	hung      bool          // which did nothing until its time was over
}

// Take takes over the socket that the keeper has put at Descriptor. The error says that there is none, which
// means that no keeper started this process.
func Take() (*Post, error) { return newPost(Descriptor) }

func newPost(socket int) (*Post, error) {
	kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("descriptor %d: it is not a keeper's socket", socket)
	}
	unix.CloseOnExec(socket)
	return &Post{socket: socket, ends: map[uint32]int{}, files: map[uint32]named{}, door: -1, patience: upgradeTime}, nil
}

// named is a file that the next hobd gets.
type named struct {
	name string
	fd   int
}

// Watch blocks until hobd says goodbye or is gone. What it has sent is kept from then on until Close, and unless it said
// goodbye, whoever comes to the door is given the files.
func (p *Post) Watch() End {
	var late time.Time // until when a hobd that becomes another program is to say something; zero: there is no such time
	for {
		if !late.IsZero() && !p.hears(late) {
			late = time.Time{}
			p.end()
		}
		f, fd, err := receive(p.socket)
		if err != nil {
			p.openDoor()
			// Whatever it is: nothing will be heard of hobd any more.
			if p.leaves {
				return Retired
			}
			return Orphaned
		}
		switch f.op {
		case opDaemon:
			p.know(int(f.n))
		case opHold:
			p.drop(f.n)
			if fd >= 0 && f.name != "" {
				p.files[f.n], fd = named{f.name, fd}, -1
			} else if fd >= 0 {
				p.ends[f.n], fd = fd, -1
			}
		case opDoor:
			discard(p.door)
			p.door, fd = fd, -1
		case opDrop:
			p.drop(f.n)
		case opRetire:
			p.leaves = true
		case opUpgrade:
			p.upgrading = true
			late = time.Now().Add(p.patience)
		case opGoodbye:
			discard(fd)
			return Dismissed
		}
		discard(fd)
	}
}

// upgradeTime is what a program that hobd has become may take to adopt what runs.
const upgradeTime = time.Minute

// hears waits until there is something to read, be it the end; false when there is nothing at that time. What came while this process was stopped is
// there to be read, too: poll(2) looks once more when its time is over.
func (p *Post) hears(until time.Time) bool {
	set := []unix.PollFd{{Fd: int32(p.socket), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(set, int(max(0, time.Until(until).Milliseconds()+1)))
		if err != unix.EINTR {
			return err != nil || n > 0 // an error is for who reads
		}
	}
}

// end is for a hobd that has become a program which does nothing.
func (p *Post) end() {
	if p.daemon == nil {
		return
	}
	p.hung = true
	_ = p.daemon.Signal(unix.SIGKILL)
}

// Upgrade reports whether hobd ended while it became another program, and whether that program is to blame: it ended by itself, crashed or hung. Call
// it after Watch.
func (p *Post) Upgrade() (upgrading, blame bool) {
	if !p.upgrading {
		return false, false
	}
	_, exit := p.Daemon()
	crashes := []syscall.Signal{unix.SIGSEGV, unix.SIGABRT, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGSYS, unix.SIGTRAP}
	return true, p.hung || exit.Known && (exit.Signal == 0 || slices.Contains(crashes, exit.Signal))
}

func (p *Post) drop(n uint32) {
	if fd, ok := p.ends[n]; ok {
		unix.Close(fd)
		delete(p.ends, n)
	}
	if f, ok := p.files[n]; ok {
		unix.Close(f.fd)
		delete(p.files, n)
	}
}

// know opens hobd, to see later how it ended. It is the parent, which proves that the pid is still its own.
func (p *Post) know(pid int) {
	p.pid = pid
	id, err := process.Identify(pid)
	if err != nil {
		return
	}
	d, err := process.Adopt(id, "")
	if err != nil {
		return
	}
	if os.Getppid() != pid {
		_ = d.Release()
		return
	}
	p.daemon = d
}

// Daemon is hobd's pid, 0 when it did not come to say it, and how it ended; the zero Exit when that is not known. It waits a moment for an end
// that is about to come: a socket is closed before its process is gone.
func (p *Post) Daemon() (pid int, exit process.Exit) {
	if p.daemon == nil {
		return p.pid, exit
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-p.daemon.Done():
	case <-t.C:
	}
	return p.pid, p.daemon.Exit()
}

// Kept is how many ends and files there are.
func (p *Post) Kept() int { return len(p.ends) + len(p.files) }

// Writers reports whether somebody has one of the FIFOs open for writing: something of a service lives, or a hobd
// does. An end that was opened while nobody had it counts as one with a writer.
func (p *Post) Writers() bool {
	if len(p.ends) == 0 {
		return false
	}
	set := make([]unix.PollFd, 0, len(p.ends))
	for _, fd := range p.ends {
		set = append(set, unix.PollFd{Fd: int32(fd)})
	}
	for {
		_, err := unix.Poll(set, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return true
		}
		break
	}
	for _, s := range set {
		if s.Revents&unix.POLLHUP == 0 {
			return true
		}
	}
	return false
}

// Close lets go of everything.
func (p *Post) Close() {
	p.closeDoor()
	for n := range p.ends {
		p.drop(n)
	}
	for n := range p.files {
		p.drop(n)
	}
	discard(p.socket)
	p.socket = -1
	if p.daemon != nil {
		_ = p.daemon.Release()
		p.daemon = nil
	}
}

// Started reports whether this process started the one with the pid, which runs or ran a moment ago.
func Started(pid int) bool {
	info, err := process.Stat(pid)
	return err == nil && info.PPid == os.Getpid()
}
