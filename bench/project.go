package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// write makes the project have n services that run argv; more is the rest of each one's table.
func (p place) write(n int, more string, argv ...string) error {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[services.%s]\nrun = [", serviceName(i))
		for _, arg := range argv {
			fmt.Fprintf(&b, "%q, ", arg)
		}
		fmt.Fprintf(&b, "]\n%s\n", more)
	}
	return os.WriteFile(filepath.Join(p.project, "hob.toml"), []byte(b.String()), 0o644)
}

func serviceName(i int) string { return fmt.Sprintf("s%03d", i) }

// up starts all services and returns when they are up; there must be n, each with a process.
func (p place) up(ctx context.Context, n int) (status, error) {
	s, err := p.ask(ctx, "up")
	if err != nil {
		return s, err
	}
	return s, s.all(n)
}

// all checks that n services have a process that runs.
func (s status) all(n int) error {
	if len(s.Services) != n {
		return fmt.Errorf("%d services, not %d", len(s.Services), n)
	}
	for _, v := range s.Services {
		if v.Pid == 0 || unix.Kill(v.Pid, 0) != nil {
			return fmt.Errorf("service %s is %s and has no process (pid %d)", v.Name, v.State, v.Pid)
		}
	}
	return nil
}

// none checks that none of the services has a process any more. One that is no child of hobd's, because it was adopted,
// may stay a zombie for as long as pid 1 takes.
func (s status) none() error {
	for _, v := range s.Services {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.Pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return fmt.Errorf("service %s was stopped and runs: %s", v.Name, stat)
		}
	}
	return nil
}

// bare is the floor for a supervisor: see bench/loop.
type bare struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

// loop starts the floor for n processes that execute argv, of which none runs yet.
func (p place) loop(ctx context.Context, n int, argv ...string) (*bare, error) {
	l := &bare{cmd: p.command(ctx, "loop", append([]string{strconv.Itoa(n)}, argv...)...)}
	l.cmd.Stderr = os.Stderr
	// It ends what it has started when its stdin ends, so Ctrl-C must not reach it before.
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l.cmd.Cancel, l.cmd.WaitDelay = func() error { l.in.Close(); return nil }, patience
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.answers = bufio.NewScanner(out)
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return l, l.cmd.Start()
}

// tell returns when it has started or stopped all.
func (l *bare) tell(word string) error {
	if _, err := io.WriteString(l.in, word+"\n"); err != nil {
		return err
	}
	if !l.answers.Scan() {
		return errors.Join(errors.New("loop: it has ended"), l.answers.Err())
	}
	return nil
}

// time is tell with a clock.
func (l *bare) time(word string) (time.Duration, error) {
	began := time.Now()
	err := l.tell(word)
	return time.Since(began), err
}

// close ends it and what it keeps.
func (l *bare) close() error {
	l.in.Close()
	return l.cmd.Wait()
}

// fifo makes one and opens it so that neither side of it waits for the other.
func fifo(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	// Non-blocking for the sake of read deadlines.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
