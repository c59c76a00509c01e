package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// MaxFile is how many bytes a file may have.
const MaxFile = 1 << 20

// source is a file that was asked for.
type source struct {
	path  string // absolute
	name  string // for people: relative to the root where it lies below it
	rank  int    // order of reading, and so of errors
	state sourceState
	data  []byte // without a byte order mark
	lines []int  // offsets at which lines begin
}

type sourceState int

const (
	sourceMissing sourceState = iota
	sourceBad                 // there is something, and a problem was noted
	sourceRead
)

func (f *source) exists() bool { return f.state != sourceMissing }
func (f *source) read() bool   { return f.state == sourceRead }

// at gives the place of a byte.
func (f *source) at(offset int) place {
	i, found := slices.BinarySearch(f.lines, offset)
	if !found {
		i--
	}
	return place{f, i + 1, offset - f.lines[i] + 1}
}

// fill takes what was read.
func (f *source) fill(data []byte) {
	f.data, f.state, f.lines = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), sourceRead, []int{0}
	for i, c := range f.data {
		if c == '\n' {
			f.lines = append(f.lines, i+1)
		}
	}
}

type ownership bool

const (
	anybodys   ownership = false
	mustBeOurs ownership = true // this user's or root's: it decides what runs
)

// open reads a file of the project. What is wrong with it becomes a problem; that it is missing does not.
func (l *loader) open(name string, whose ownership) *source {
	f := &source{path: l.below(name), rank: len(l.project.Files)}
	f.name = f.path
	if rel, err := filepath.Rel(l.root, f.path); err == nil && filepath.IsLocal(rel) {
		f.name = rel
	}
	data, err := readFile(f.path, whose)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return f
	case err != nil:
		f.state = sourceBad
		l.project.Files = append(l.project.Files, f.path)
		l.problems.add(place{file: f}, hintOf(err), err.Error())
		return f
	}
	l.project.Files = append(l.project.Files, f.path)
	f.fill(data)
	if i := invalidUTF8(f.data); i >= 0 {
		f.state = sourceBad
		l.problems.add(f.at(i), "", fmt.Sprintf("byte 0x%02x is not UTF-8", f.data[i]))
	}
	return f
}

// readFile reads a regular file of at most MaxFile bytes. Its errors do not name the file.
func readFile(path string, whose ownership) ([]byte, error) {
	// O_NONBLOCK: a FIFO in its place must not hang us. O_NOCTTY: nor may a terminal become ours.
	fd, err := openRetry(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC)
	if err == unix.ENOENT && isLink(path) {
		return nil, errors.New("a symbolic link to nothing")
	}
	if err == unix.ENXIO {
		return nil, errors.New("a socket, not a file")
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, bare(err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s, not a file", kindOf(fi.Mode()))
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && whose == mustBeOurs {
		if err := checkOwner(int(st.Uid), os.Geteuid()); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, bare(err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("more than %d bytes", MaxFile)
	}
	return data, nil
}

// openRetry is open(2), again when a signal came between; golang/go#11180.
func openRetry(path string, flags int) (int, error) {
	if strings.IndexByte(path, 0) >= 0 {
		return -1, unix.ENOENT
	}
	for {
		fd, err := unix.Open(path, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// OwnerError says that a file belongs to somebody else, who must not decide what runs here.
type OwnerError struct{ Owner, Want int }

func (e *OwnerError) Error() string {
	return fmt.Sprintf("owned by uid %d, not by you (uid %d) or root", e.Owner, e.Want)
}

func checkOwner(owner, me int) error {
	if owner == me || owner == 0 {
		return nil
	}
	return &OwnerError{Owner: owner, Want: me}
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*OwnerError](err); ok {
		return fmt.Sprintf("if you trust it, make it yours: chown %d", e.Want)
	}
	return ""
}

func isLink(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode()&fs.ModeSymlink != 0
}

func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// invalidUTF8 gives the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}
