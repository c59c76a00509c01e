package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// patience is for a worker's answer, and far above what one takes.
const patience = 30 * time.Second

// perform has three processes go through the schedule, writes what each does, and gives those who hold the lock at its end.
func perform(w io.Writer, s schedule) (holders []string, err error) {
	fmt.Fprintln(w, s.name+":")
	dir, err := os.MkdirTemp("", "pidrace-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	names := []string{"A", "B", "C"}
	cast := map[string]*actor{}
	defer func() {
		for _, a := range cast {
			err = errors.Join(err, a.leave())
		}
	}()
	for _, name := range names {
		if cast[name], err = enter(dir); err != nil {
			delete(cast, name)
			return nil, err
		}
	}
	for _, a := range s.acts {
		said, err := cast[a.who].tell(a.what)
		if err != nil {
			return nil, fmt.Errorf("%s, told to %s: %w", a.who, a.what, err)
		}
		fmt.Fprintf(w, "  %s (pid %d) %s\n", a.who, cast[a.who].cmd.Process.Pid, said)
	}
	for _, name := range names {
		said, err := cast[name].tell(doTell)
		if err != nil {
			return nil, err
		}
		if said == yes {
			holders = append(holders, name)
		}
	}
	return holders, nil
}

// actor is a worker's process.
type actor struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// enter starts one in dir. It does nothing before it is told to.
func enter(dir string) (*actor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := &actor{cmd: exec.Command(self)}
	a.cmd.Dir, a.cmd.Env, a.cmd.Stderr = dir, append(os.Environ(), workerEnv+"=1"), os.Stderr
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewReader(out)
	return a, a.cmd.Start()
}

// tell waits for what the worker says when it has done it.
func (a *actor) tell(what string) (said string, err error) {
	hung := time.AfterFunc(patience, func() { _ = a.cmd.Process.Kill() })
	defer hung.Stop()
	if _, err := fmt.Fprintln(a.in, what); err != nil {
		return "", err
	}
	line, err := a.out.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\n")
	if why, failed := strings.CutPrefix(line, "error: "); failed {
		return "", errors.New(why)
	}
	return line, nil
}

// leave is the end of the worker: that of what it reads.
func (a *actor) leave() error {
	hung := time.AfterFunc(patience, func() { _ = a.cmd.Process.Kill() })
	defer hung.Stop()
	return errors.Join(a.in.Close(), a.cmd.Wait())
}
