package activation

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/sockets"
)

func listenUnix(path string) (*Socket, error) {
	s := &Socket{network: "unix", addr: path, fd: -1}
	err := s.bindUnix()
	if err == nil {
		return s, nil
	}
	s.Close()
	var held *sockets.TakenError
	if errors.As(err, &held) {
		return nil, err
	}
	return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
}

func (s *Socket) bindUnix() error {
	if !filepath.IsAbs(s.addr) {
		return errors.New("the path is not absolute")
	}
	if len(s.addr) > maxPath {
		return fmt.Errorf("the path has %d bytes, and a socket's can have %d", len(s.addr), maxPath)
	}
	if err := os.MkdirAll(filepath.Dir(s.addr), 0o700); err != nil {
		return err
	}
	if err := free(s.addr); err != nil {
		return err
	}
	aside := asideOf(s.addr)
	if err := s.bindAside(aside); err != nil {
		return err
	}
	if err := os.Rename(aside, s.addr); err != nil {
		_ = os.Remove(aside)
		return err
	}
	return s.identify()
}

// bindAside has a socket that listens, and that only its owner can connect to, before it has its name: fchmod before bind
// gives the file its mode, whatever the umask.
func (s *Socket) bindAside(path string) (err error) {
	if s.fd, err = newSocket(unix.AF_UNIX); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.Fchmod(s.fd, 0o600); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(s.fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(s.fd, backlog); err != nil {
		_ = os.Remove(path)
		return os.NewSyscallError("listen", err)
	}
	return nil
}

var asides atomic.Uint64

// asideOf is a name beside path, no longer than it where that is at its limit.
func asideOf(path string) string {
	name := fmt.Sprintf(".%x.%x", os.Getpid(), asides.Add(1))
	dir := filepath.Dir(path)
	if base := filepath.Base(path); len(dir)+1+len(name)+len(base) <= maxPath {
		name = "." + base + name
	}
	return filepath.Join(dir, name)
}

// free returns nil when nobody listens at the path and nothing is there but perhaps a socket that nobody has any more.
func free(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there, and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, connectTime)
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		conn.Close()
	}
	return taken("unix", path, whoListens(path))
}

// identify notes which file the path is.
func (s *Socket) identify() error {
	if s.file = idOf(s.addr); s.file == (fileID{}) {
		return &fs.PathError{Op: "stat", Path: s.addr, Err: fs.ErrNotExist}
	}
	return nil
}

// idOf is zero for what is no socket.
func idOf(path string) fileID {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fileID{}
	}
	return fileID{dev: uint64(st.Dev), ino: st.Ino}
}
