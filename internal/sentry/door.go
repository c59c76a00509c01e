package sentry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	doorVersion = 1               // of a record; hobd and an earlier one's sentry may be of different versions
	recordSize  = 1 + maxName     // version, name and zeros; the file comes with it
	doorTime    = 3 * time.Second // for one who comes to the door, and for the sentry to answer
)

// door is where the next hobd finds what a sentry has kept: a listening Unix socket, which only its owner can connect
// to. hobd makes it, and the sentry has it.
type door struct {
	path, aside string
	fd          int
}

// newDoor makes one that has no name yet. It is bound through its directory's descriptor where the system can do that, so its path may be long.
func newDoor(path string) (*door, error) {
	// A name that the next hobd sweeps when this one is killed before it opens the door (TestHalfMadeDoorIsSwept).
	d := &door{path: path, aside: fmt.Sprintf("%s.new-%d-0", path, os.Getpid()), fd: -1}
	_ = os.Remove(d.aside) // of an earlier process with this pid
	err := d.bind()
	if err != nil {
		discard(d.fd)
		return nil, fmt.Errorf("listen on %s: %w", d.aside, err)
	}
	return d, nil
}

func (d *door) bind() (err error) {
	if d.fd, err = newSocket(); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Fchmod(d.fd, 0o600); err != nil { // before bind, so that it never has another mode
		return os.NewSyscallError("fchmod", err)
	}
	short, end, err := shortPath(d.aside)
	if err != nil {
		return err
	}
	defer end()
	if err := unix.Bind(d.fd, &unix.SockaddrUnix{Name: short}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(d.fd, 16))
}

// open gives it its name, in place of an earlier one, and leaves it to the sentry.
func (d *door) open() error {
	defer unix.Close(d.fd)
	err := os.Rename(d.aside, d.path)
	if err != nil {
		_ = os.Remove(d.aside)
	}
	return err
}

// openDoor begins to serve those who come.
func (p *Post) openDoor() {
	if p.door < 0 || p.served != nil {
		return
	}
	files := make([]named, 0, len(p.files))
	for _, f := range p.files {
		files = append(files, f)
	}
	p.served = make(chan struct{})
	go func() {
		defer close(p.served)
		for {
			fd, _, err := unix.Accept(p.door)
			if err == unix.EINTR || err == unix.ECONNABORTED {
				continue
			}
			if err != nil {
				return
			}
			give(fd, files)
		}
	}()
}

// closeDoor returns when nobody is served any more.
func (p *Post) closeDoor() {
	if p.door < 0 {
		return
	}
	_ = unix.Shutdown(p.door, unix.SHUT_RDWR)
	if p.served != nil {
		_ = nudge(p.door) // where shutdown does not end accept(2)
		<-p.served
	}
	discard(p.door)
	p.door = -1
}

// give sends all to one of the same user, who has a while to read it.
func give(fd int, files []named) {
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if uid, err := peerUID(fd); err != nil || uid != os.Geteuid() {
		return
	}
	limit := unix.NsecToTimeval(doorTime.Nanoseconds())
	if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit) != nil {
		return
	}
	for _, f := range files {
		record := make([]byte, recordSize)
		record[0] = doorVersion
		copy(record[1:], f.name)
		if n, err := unix.SendmsgN(fd, record, unix.UnixRights(f.fd), nil, sendFlags); err != nil || n != recordSize {
			return
		}
	}
}

// errRecord is for what no sentry sends.
var errRecord = errors.New("the sentry said something that is not understood")

// Collect gets the files that a sentry has kept, by name, from its door. It blocks until the sentry has seen that its hobd is
// gone, or until ctx ends, and for some seconds at most. No door, and one that nobody is behind, have nothing: that is no error.
// Where there is one, what has come until then is given, too. The caller closes the files.
func Collect(ctx context.Context, path string) (files map[string]*os.File, err error) {
	conn, err := connect(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the sentry at %s: %w", path, err)
	}
	defer conn.Close()
	end := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer end()
	if err := conn.SetDeadline(time.Now().Add(doorTime)); err != nil {
		return nil, err
	}
	files = map[string]*os.File{}
	if err := collect(conn, files); err != nil {
		return files, fmt.Errorf("get what the sentry at %s has kept: %w", path, err)
	}
	return files, nil
}

func connect(path string) (*net.UnixConn, error) {
	short, end, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer end()
	conn, err := net.DialTimeout("unix", short, doorTime)
	if err != nil {
		return nil, err
	}
	u := conn.(*net.UnixConn)
	raw, err := u.SyscallConn()
	if err == nil {
		var uid int
		if cerr := raw.Control(func(fd uintptr) { uid, err = peerUID(int(fd)) }); cerr != nil {
			err = cerr
		}
		if err == nil && uid != os.Geteuid() {
			err = fmt.Errorf("it belongs to uid %d", uid)
		}
	}
	if err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

// collect reads records until the end.
func collect(conn *net.UnixConn, files map[string]*os.File) error {
	record, rights := make([]byte, recordSize), make([]byte, unix.CmsgSpace(4))
	for {
		fd := -1
		for have := 0; have < recordSize; {
			n, rn, _, _, err := conn.ReadMsgUnix(record[have:], rights)
			if rn > 0 {
				fd = take(rights[:rn], fd)
			}
			if errors.Is(err, io.EOF) && have == 0 {
				return nil
			}
			if err != nil {
				discard(fd)
				return errors.Join(errRecord, err)
			}
			have += n
		}
		name, err := nameOf(record)
		if err != nil || fd < 0 {
			discard(fd)
			return errRecord
		}
		if old := files[name]; old != nil {
			old.Close()
		}
		files[name] = os.NewFile(uintptr(fd), name)
	}
}

// nameOf reads a record.
func nameOf(record []byte) (string, error) {
	if len(record) != recordSize || record[0] != doorVersion {
		return "", errRecord
	}
	name := nameIn(record[1:])
	if name == "" || !filepath.IsLocal(name) {
		return "", errRecord
	}
	return name, nil
}
