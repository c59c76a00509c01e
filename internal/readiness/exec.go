package readiness

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hobworks/hob/internal/process"
)

// execTimeout is for one run of a check.
const execTimeout = 10 * time.Second

// exec runs the check once. Its processes are ended before it returns, whatever they do.
func (w *waiter) exec(ctx context.Context) error {
	if w.missing == "" {
		w.missing = "the check has not ended yet"
	}
	path, err := process.LookPath(w.r.Exec[0], w.t.Dir, w.t.Env)
	if err != nil {
		return fmt.Errorf("the check: %w", err)
	}
	out, said, err := output()
	if err != nil {
		return err
	}
	p, err := process.Start(process.Spec{Path: path, Args: w.r.Exec, Env: w.t.Env, Dir: w.t.Dir, Output: out})
	out.Close()
	if err != nil {
		said.Close()
		return fmt.Errorf("the check: %w", err)
	}
	late := time.NewTimer(execTimeout)
	defer late.Stop()
	ended := true
	select {
	case <-p.Done():
	case <-late.C:
		ended = false
	case <-ctx.Done():
		ended = false
	}
	exit := p.Exit()
	if ended {
		_ = p.SignalGroup(syscall.SIGKILL) // what it left behind
	} else {
		_, _ = p.Terminate(context.Background(), process.Stop{Signal: syscall.SIGKILL})
	}
	_ = p.Release()
	last := lastLine(said)
	said.Close()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !ended:
		return fmt.Errorf("the check takes longer than %v", execTimeout)
	case exit.Known && exit.Code == 0 && exit.Signal == 0:
		return nil
	case last != "":
		return fmt.Errorf("the check: %s: %s", exit, last)
	}
	return fmt.Errorf("the check: %s", exit)
}

// output is a pipe whose reader does not wait: the check has ended when it is read, and what does not fit is lost.
func output() (write, read *os.File, err error) {
	read, write, err = os.Pipe()
	return write, read, err
}

// lastLine reads what is there and gives its last line.
func lastLine(r *os.File) string {
	_ = r.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	buf := make([]byte, 64<<10)
	n, _ := r.Read(buf)
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(buf[:n]), "?")), "\n")
	return lines[len(lines)-1]
}
