package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// MarkName is the environment variable whose value marks the members of a tree.
const MarkName = "HOB_ID"

// LockDescriptor is the number at which a process finds Spec.Lock. It is above 9, the last descriptor that a POSIX
// shell's redirections name, so that no script closes or replaces it by chance.
const LockDescriptor = 10

// Spec says what to start.
type Spec struct {
	Path   string   // absolute, from LookPath
	Args   []string // the whole argv; empty: only Path
	Env    []string // the whole environment, nothing is inherited
	Dir    string   // working directory; "": the caller's
	TTY    *os.File // the slave of a terminal, pty(7): stdin, stdout, stderr and the session's own; nil: none. Output is not used then
	Output *os.File // stdout and stderr; should be a fresh blocking descriptor, since the mode is shared; nil: /dev/null
	Lock   *os.File // inherited at LockDescriptor; nil: none
	Extra  []Extra  // more descriptors
	Via    []string // argv of a program that calls [ExecStep] and executes Path in its place; empty: none
	Mark   string   // put into Env as MarkName; "": Env stays as it is and the tree is found without a mark
}

// Extra is a file for the process to find at descriptor FD, which is above 2 and not LockDescriptor.
type Extra struct {
	FD   int
	File *os.File
}

// Start executes s in a session and group of its own, with /dev/null as stdin and no other descriptors than those
// named, provided that all others of this process are close-on-exec, as Go makes them. It returns after execve(2), that of Path also with Via: an error
// means that nothing runs, and wraps the errno (ENOENT, EACCES, ENOEXEC, …). The caller keeps TTY, Output, Lock and Extra and closes them. The process is not killed when the caller ends.
func Start(s Spec) (*Process, error) {
	// No zombie may be collected between fork and the entry in the list of leaders.
	reaping.RLock()
	defer reaping.RUnlock()

	input, output, end, err := s.stdio()
	if err != nil {
		return nil, err
	}
	defer end()
	var via *step
	if len(s.Via) > 0 {
		if via, err = newStep(s.Via, s.Extra); err != nil {
			return nil, err
		}
		defer via.close()
		s.Extra = append(slices.Clone(s.Extra), Extra{FD: via.status, File: via.theirs})
	}
	files := []*os.File{input, output}
	if s.Lock != nil {
		files = append(files, s.Lock)
	}
	for _, x := range s.Extra {
		if x.FD < 3 || x.FD == LockDescriptor {
			return nil, fmt.Errorf("start %s: descriptor %d is not free for it", s.Path, x.FD)
		}
		files = append(files, x.File)
	}
	var p *Process
	err = withDescriptors(files, nil, func(fds []uintptr) error {
		p, err = s.fork(fds, via)
		return err
	})
	if err != nil {
		return nil, err
	}
	if via != nil {
		if err := via.wait(); err != nil {
			p.h.destroy()
			return nil, s.explain(err)
		}
	}
	p.begin()
	return p, nil
}

// stdio gives what the process reads and what it writes to. end closes what was opened for that.
func (s Spec) stdio() (input, output *os.File, end func(), err error) {
	if s.TTY != nil {
		return s.TTY, s.TTY, func() {}, nil
	}
	input, err = os.Open(os.DevNull)
	if err != nil || s.Output != nil {
		return input, s.Output, func() { input.Close() }, err
	}
	output, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		input.Close()
	}
	return input, output, func() { input.Close(); output.Close() }, err
}

// withDescriptors calls f with the descriptors of the files, which cannot be closed meanwhile. It does not use
// File.Fd, which in some versions of Go makes the shared open file blocking.
func withDescriptors(files []*os.File, fds []uintptr, f func([]uintptr) error) error {
	if len(files) == 0 {
		return f(fds)
	}
	conn, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if conn.Control(func(fd uintptr) { inner = withDescriptors(files[1:], append(fds, fd), f) }) != nil {
		return &fs.PathError{Op: "use", Path: files[0].Name(), Err: os.ErrClosed} // its one error, without a name
	}
	return inner
}

// fork starts s with fds = stdin, output, perhaps the lock, and the extra ones.
func (s Spec) fork(fds []uintptr, via *step) (*Process, error) {
	path, args := s.Path, s.Args
	if len(args) == 0 {
		args = []string{s.Path}
	}
	if via != nil {
		path, args = via.command(path, args)
	}
	attr := &syscall.ProcAttr{Dir: s.Dir, Env: s.environment(), Files: []uintptr{fds[0], fds[1], fds[1]},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: s.TTY != nil}} // Ctty 0: its stdin
	rest := fds[2:]
	if s.Lock != nil {
		attr.Files = place(attr.Files, LockDescriptor, rest[0])
		rest = rest[1:]
	}
	for i, x := range s.Extra {
		attr.Files = place(attr.Files, x.FD, rest[i])
	}
	pid, h, err := forkExec(path, args, attr)
	if err != nil {
		return nil, s.explain(err)
	}
	id, err := Identify(pid)
	if err != nil {
		h.destroy()
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	p := newProcess(id, s.Mark, h)
	p.child = true
	return p, nil
}

// place makes fd the child's descriptor n; those between are closed in the child.
func place(files []uintptr, n int, fd uintptr) []uintptr {
	for len(files) <= n {
		files = append(files, ^uintptr(0))
	}
	files[n] = fd
	return files
}

func (s Spec) environment() []string {
	if s.Mark == "" {
		return s.Env
	}
	env := make([]string, 0, len(s.Env)+1)
	for _, kv := range s.Env {
		if !strings.HasPrefix(kv, MarkName+"=") {
			env = append(env, kv)
		}
	}
	return append(env, MarkName+"="+s.Mark)
}

// explain names what an errno of fork, chdir or execve is about, which the kernel does not tell apart.
func (s Spec) explain(err error) error {
	if s.Dir != "" {
		if st, statErr := os.Stat(s.Dir); statErr != nil {
			return fmt.Errorf("start %s: enter its directory: %w", s.Path, statErr)
		} else if !st.IsDir() {
			return fmt.Errorf("start %s: enter its directory: %w", s.Path, &fs.PathError{Op: "chdir", Path: s.Dir, Err: syscall.ENOTDIR})
		}
	}
	err = &fs.PathError{Op: "exec", Path: s.Path, Err: err}
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w (no #! line, or built for another machine)", err)
	case errors.Is(err, fs.ErrNotExist):
		if _, statErr := os.Stat(s.Path); statErr == nil {
			return fmt.Errorf("%w (the file is there, the interpreter or loader that it names is not)", err)
		}
	}
	return err
}
