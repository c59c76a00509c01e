package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hobworks/hob/internal/process"
)

// TrialEnv is the variable that has a program say what it is instead of doing its work: see Trial.
const TrialEnv = "HOB_SELFTEST"

// Report is what a program says of itself in a trial.
type Report struct {
	Format   int    `json:"format"` // of bundles
	Protocol [2]int `json:"protocol"`
	Build    string `json:"build"`
	ID       string `json:"id"` // of the instance that it would serve
}

// trialTime is what a program has for it.
const trialTime = 10 * time.Second

// maxReport bounds what is kept of what a program writes meanwhile.
const maxReport = 64 << 10

// Trial executes a program with argv and env, in dir, in a process of its own, and asks what it is. The program is to call OnTrial when
// it has done what it does before it serves. The error says in a sentence what is wrong with it: that it can't be executed, that it
// ended, with what it said, that it did not answer in time, or that it understands no bundle of this program's.
func Trial(ctx context.Context, dir string, argv, env []string) (r Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	text, exit, err := run(ctx, process.Spec{Path: argv[0], Args: argv, Dir: dir, Env: append(without(without(env, Env), TrialEnv), TrialEnv+"=1")})
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return r, fmt.Errorf("%s: it did not say what it is within %v", argv[0], trialTime)
	case ctx.Err() != nil:
		return r, fmt.Errorf("%s: %w", argv[0], context.Cause(ctx))
	case err != nil:
		return r, fmt.Errorf("it can't be executed: %w", err)
	case exit != (process.Exit{Known: true}):
		return r, fmt.Errorf("%s: it ended with %v%s", argv[0], exit, said(text))
	}
	for line := range strings.Lines(text) { // a program may say other things as well
		if json.Unmarshal([]byte(line), &r) == nil && r.Format != 0 {
			break
		}
	}
	switch r.Format {
	case format:
		return r, nil
	case 0:
		return r, fmt.Errorf("%s: it is no such daemon%s", argv[0], said(text))
	}
	return r, fmt.Errorf("%s: it takes over format %d, not %d", argv[0], r.Format, format)
}

// run executes a program and gives the last of what it wrote. Nothing of it is left when run returns.
func run(ctx context.Context, spec process.Spec) (text string, exit process.Exit, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", exit, err
	}
	defer r.Close()
	_ = w.Fd() // from here on it blocks, as programs expect of their output
	spec.Output = w
	p, err := process.Start(spec)
	w.Close()
	if err != nil {
		return "", exit, err
	}
	defer p.Release()
	var out limited
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&out, r)
	}()
	select {
	case <-p.Done():
	case <-ctx.Done():
	}
	// What it may have started ends as well, and with that the pipe.
	_, err = p.Terminate(context.WithoutCancel(ctx), process.Stop{Signal: syscall.SIGKILL})
	_ = r.SetReadDeadline(time.Now().Add(lastWords)) // a process that has left its tree may have the pipe
	<-read
	return out.String(), p.Exit(), err
}

// lastWords is how long what it has written may take to come, once it and all that it has started have ended.
const lastWords = time.Second

// SetTrial puts this process on trial, as somebody asked for by hand.
func SetTrial() { os.Setenv(TrialEnv, "1") }

// OnTrial is for the tried program. Where this process is not on trial, it reports false and does nothing.
func OnTrial(r Report) bool {
	if os.Getenv(TrialEnv) == "" {
		return false
	}
	r.Format = format
	data, err := json.Marshal(r)
	if err == nil {
		_, _ = os.Stdout.Write(append(data, '\n'))
	}
	return true
}

// said is the last line of what a program wrote, for a message.
func said(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if last == "" {
		return ""
	}
	const most = 200
	if len(last) > most {
		last = last[:most] + "…"
	}
	return fmt.Sprintf(": %q", last)
}

// limited keeps the last of what is written.
type limited struct{ kept []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.kept = append(l.kept, p...)
	if over := len(l.kept) - maxReport; over > maxReport {
		l.kept = append(l.kept[:0], l.kept[over:]...)
	}
	return len(p), nil
}

func (l *limited) String() string { return string(l.kept[max(0, len(l.kept)-maxReport):]) }
