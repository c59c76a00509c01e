package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/process"
)

// Env is the variable that tells a program which descriptor the bundle is read from.
const Env = "HOB_UPGRADE"

// format of what is written there. Another one is not understood.
const format = 1

// maxBundle bounds what is read.
const maxBundle = 64 << 20

// Bundle is what one program leaves to the next one in the same process.
type Bundle struct {
	Files map[string]*os.File // by names of the caller's choice
	State json.RawMessage     // what encoding/json makes of something of the caller's
}

// written is a bundle as it goes through exec.
type written struct {
	Format int             `json:"format"`
	Pid    int             `json:"pid"`
	Files  map[string]int  `json:"files,omitempty"` // descriptors
	State  json.RawMessage `json:"state,omitempty"`
}

// Exec executes the program argv[0], a path, in this process, and has it find the bundle. It returns only when that could not be done;
// then nothing is different from before. It waits until nobody forks.
func Exec(argv, env []string, b Bundle) error {
	w := written{Format: format, Pid: os.Getpid(), Files: map[string]int{}, State: b.State}
	for name, f := range b.Files {
		conn, err := f.SyscallConn()
		if err == nil {
			err = conn.Control(func(fd uintptr) { w.Files[name] = int(fd) })
		}
		if err != nil {
			return fmt.Errorf("exec %s: pass on %s: %w", argv[0], name, err)
		}
	}
	data, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("exec %s: %w", argv[0], err)
	}
	note, err := noteOf(data)
	if err != nil {
		return fmt.Errorf("exec %s: %w", argv[0], err)
	}
	defer note.Close()
	fds := []int{int(note.Fd())}
	for _, fd := range w.Files {
		fds = append(fds, fd)
	}
	err = execute(argv, append(without(env, Env), Env+"="+strconv.Itoa(fds[0])), fds)
	runtime.KeepAlive(b.Files) // of which only the numbers are used above
	return &os.PathError{Op: "exec", Path: argv[0], Err: err}
}

// execute passes fds on. Nothing is forked in between, so no child gets them.
func execute(argv, env []string, fds []int) error {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	defer func() {
		for _, fd := range fds {
			unix.CloseOnExec(fd)
		}
	}()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return process.Exec(argv[0], argv, env)
}

func without(env []string, name string) []string {
	var out []string
	for _, kv := range env {
		if len(kv) <= len(name) || kv[:len(name)+1] != name+"=" {
			out = append(out, kv)
		}
	}
	return out
}

// Inherit gives what an earlier program has left to this one, and forgets where it was. ok is false when there is nothing. The caller closes the
// files, which are close-on-exec from then on.
func Inherit() (b Bundle, ok bool, err error) {
	v := os.Getenv(Env)
	if v == "" {
		return b, false, nil
	}
	os.Unsetenv(Env)
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return b, false, fmt.Errorf("%s=%s can't be read", Env, v)
	}
	note := os.NewFile(uintptr(fd), "upgrade")
	defer note.Close()
	unix.CloseOnExec(fd)
	data, err := readNote(note)
	if err == nil {
		b, err = read(data, os.Getpid())
	}
	if err != nil {
		return Bundle{}, false, fmt.Errorf("read what the program before has left at descriptor %d: %w", fd, err)
	}
	return b, true, nil
}

func readNote(note *os.File) ([]byte, error) {
	if _, err := note.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(note, maxBundle))
}

var errNotMine = errors.New("it was left to another process")

// read takes the files of a note over.
func read(data []byte, pid int) (Bundle, error) {
	w, err := decode(data)
	if err != nil {
		return Bundle{}, err
	}
	if w.Pid != pid {
		return Bundle{}, errNotMine
	}
	b := Bundle{Files: map[string]*os.File{}, State: w.State}
	for name, fd := range w.Files {
		unix.CloseOnExec(fd)
		if b.Files[name] = os.NewFile(uintptr(fd), name); b.Files[name] == nil {
			return Bundle{}, fmt.Errorf("descriptor %d of %s: %w", fd, name, unix.EBADF)
		}
	}
	return b, nil
}

// decode reads a note and checks that no descriptor is one of the three that everybody has, or stands there twice.
func decode(data []byte) (written, error) {
	var w written
	if err := json.Unmarshal(data, &w); err != nil {
		return w, err
	}
	if w.Format != format {
		return w, fmt.Errorf("format %d, not %d", w.Format, format)
	}
	seen := map[int]bool{}
	for name, fd := range w.Files {
		if fd < 3 || seen[fd] {
			return w, fmt.Errorf("descriptor %d of %q is not one of its own", fd, name)
		}
		seen[fd] = true
	}
	return w, nil
}
