package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A step is a program between fork and the program that is to run: it learns its own pid, puts it into LISTEN_PID,
// and executes. Whoever gets sockets needs that (sd_listen_fds(3)), and nobody else can know it before the fork.
type step struct {
	via    []string
	status int      // descriptor of theirs in the process
	ours   *os.File // reads the errno of execve(2), or the end when that went well
	theirs *os.File
}

// newStep makes the pipe on which a step tells why it could not execute. Its descriptor is the first from 11 on
// that nothing else has.
func newStep(via []string, extra []Extra) (*step, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &step{via: via, status: LockDescriptor + 1, ours: ours, theirs: theirs}
	for slices.ContainsFunc(extra, func(x Extra) bool { return x.FD == s.status }) {
		s.status++
	}
	return s, nil
}

// command is what is executed in place of path and args.
func (s *step) command(path string, args []string) (string, []string) {
	return s.via[0], slices.Concat(s.via, []string{strconv.Itoa(s.status), path}, args)
}

// wait returns nil once the program is executed, else the errno. A step that was killed before that ends as the
// program would have.
func (s *step) wait() error {
	s.theirs.Close()
	text, err := io.ReadAll(s.ours)
	if err != nil || len(text) == 0 {
		return err
	}
	errno, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("the step before the program said %q", text)
	}
	return syscall.Errno(errno)
}

func (s *step) close() {
	s.ours.Close()
	s.theirs.Close()
}

// stepFailed is the exit status of a step that could not execute, as shells have it.
const stepFailed = 127

// ExecStep is the program that Spec.Via starts: args are what follows Via, STATUS_FD PATH ARG…. It returns, with an exit
// status, only when the program can't be executed, and has told why through the descriptor.
func ExecStep(args []string) int {
	fd, err := strconv.Atoi(first(args))
	if err != nil || fd <= 2 || len(args) < 3 {
		fmt.Fprintln(os.Stderr, "this is a step on the way to a service, and nobody else's to call")
		return stepFailed
	}
	unix.CloseOnExec(fd)
	err = Exec(args[1], args[2:], listenPid(os.Environ()))
	var errno syscall.Errno
	if errors.As(err, &errno) {
		_, _ = unix.Write(fd, []byte(strconv.Itoa(int(errno))))
	}
	return stepFailed
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// listenPid says in env whom LISTEN_FDS is for.
func listenPid(env []string) []string {
	env = slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "LISTEN_PID=") })
	if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "LISTEN_FDS=") }) {
		return env
	}
	return append(env, "LISTEN_PID="+strconv.Itoa(os.Getpid()))
}
