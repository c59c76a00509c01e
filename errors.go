package hob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/spawn"
)

// Error is every error of this package: what was found, in words for people and for programs.
//
// Verdict is what the probe saw, where an error is about the daemon: "absent", "starting",
// "stopping", "draining", "busy", "unresponsive", "stale", "foreign", "denied", "skewed",
// "collision", "lost" or "unknown"; it is empty for an error that the daemon answered.
//
// Code is for programs: "not_running" (nothing there, and starting one was not wanted),
// "start_failed", "timeout", a verdict, or whatever code the handler answered.
//
// A Handler may return an *Error: Code, Message and Hint reach the client.
type Error struct {
	Verdict string
	Code    string
	Message string // one sentence: what was done, to what, why it failed
	Hint    string // the way out, or ""
	Pid     int    // of the process in question, or 0
	Err     error  // the cause, or nil
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// verdictError explains a report that is not ready.
func verdictError(inst instance.Instance, r probe.Report) *Error {
	e := &Error{Verdict: string(r.Verdict), Code: string(r.Verdict), Pid: r.Pid, Err: r.Err}
	at := "connect to the daemon of " + inst.Root.Path
	switch r.Verdict {
	case probe.Unresponsive:
		e.Message, e.Hint = unresponsive(inst, at, r)
	case probe.Busy:
		e.Message = at + ": its queue of connections is full"
		e.Hint = fmt.Sprintf("see what it does: %s", inst.Path(instance.DaemonLog))
		if r.Stopped() {
			e.Message += fmt.Sprintf(" (pid %d is stopped, state %c)", r.Pid, r.State)
			_, e.Hint = unresponsive(inst, at, r)
		}
	case probe.Draining, probe.Stopping:
		e.Message = at + ": it is still stopping" + pidWords(r.Pid)
	case probe.Starting:
		e.Message = at + ": it is still starting" + pidWords(r.Pid)
		e.Hint = "its log: " + inst.Path(instance.DaemonLog)
	case probe.Absent, probe.Stale:
		e.Code = "not_running"
		e.Message = "no daemon runs for " + inst.Root.Path
	case probe.Skewed:
		e.Message = fmt.Sprintf("%s: %v", at, r.Err)
		e.Hint = hint(inst, "use the newer hob, or replace the daemon with \"hob daemon restart\" of the newer one",
			"use the newer build of the program, or stop the daemon with the build that started it")
	default:
		e.Message = fmt.Sprintf("%s: %v", at, r.Err)
		if e.Hint = hintOf(r.Err); errors.Is(r.Err, unix.EACCES) {
			e.Hint = ownerHint(inst)
		}
	}
	return e
}

func unresponsive(inst instance.Instance, at string, r probe.Report) (msg, way string) {
	replace := hint(inst, "replace it with \"hob daemon restart --force\"", fmt.Sprintf("end it with \"kill -KILL %d\"", r.Pid))
	switch {
	case r.Stopped():
		return fmt.Sprintf("%s: no answer (pid %d is stopped, state %c)", at, r.Pid, r.State),
			fmt.Sprintf("resume it with \"kill -CONT %d\", or %s", r.Pid, replace)
	case r.Pid != 0 && r.State != 0:
		return fmt.Sprintf("%s: no answer in time (pid %d is %s, state %c)", at, r.Pid, r.Command, r.State),
			"try again, or " + replace
	}
	return at + ": no answer in time", hint(inst, replace, "try again; its log: "+inst.Path(instance.DaemonLog))
}

// hint is what helps people with hob's own daemon, or with that of another program, who may not
// have hob at all.
func hint(inst instance.Instance, hobs, others string) string {
	if inst.Name == "" {
		return hobs
	}
	return others
}

func pidWords(pid int) string {
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", pid)
}

// hintOf is the way out of what the state directory can be wrong about.
func hintOf(err error) string {
	var owner *instance.OwnerError
	var mode *instance.ModeError
	var kind *instance.KindError
	switch {
	case errors.As(err, &owner):
		return owner.Hint
	case errors.As(err, &mode):
		return fmt.Sprintf("close it with \"chmod 0700 %s\", once you know who opened it", mode.Path)
	case errors.As(err, &kind):
		return fmt.Sprintf("move %s away", kind.Path)
	case errors.Is(err, unix.ENOSPC):
		return "make room on that file system, or set HOB_STATE_DIR to another one"
	}
	return ""
}

// startError explains a start that failed.
func startError(inst instance.Instance, err error) *Error {
	e := &Error{Verdict: string(probe.Absent), Code: "start_failed", Err: err}
	e.Message = err.Error()
	e.Hint = hintOf(err)
	var f *spawn.Failure
	if errors.Is(err, unix.EACCES) || errors.As(err, &f) && f.Code == "EACCES" {
		e.Hint = ownerHint(inst)
	}
	if !errors.As(err, &f) {
		e.Message = fmt.Sprintf("start the daemon of %s: %v", inst.Root.Path, err)
		return e
	}
	e.Pid = f.Pid
	switch {
	case errors.Is(f.Err, context.DeadlineExceeded), errors.Is(f.Err, spawn.ErrPatience):
		e.Verdict, e.Code = string(probe.Starting), "timeout"
	case f.TooMany > 0:
		e.Hint = fmt.Sprintf("mend that, then wait %.0fs; the whole story: %s", f.TooMany.Round(time.Second).Seconds(),
			inst.Path(instance.DaemonLog))
	case e.Hint == "" && f.Code == "ENOSPC":
		e.Hint = hintOf(unix.ENOSPC)
	case e.Hint == "":
		e.Hint = "its log: " + inst.Path(instance.DaemonLog)
	}
	return e
}

// answerError turns what a call returned into an *Error.
func answerError(method string, err error) error {
	if err == nil {
		return nil
	}
	var e *ipc.Error
	switch {
	case errors.As(err, &e):
		out := &Error{Code: "failed", Message: e.Message, Err: err}
		if e.Data != nil {
			out.Code, out.Hint = e.Data.Code, e.Data.Hint
		}
		return out
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: "timeout", Message: method + ": no answer in time", Err: err}
	case errors.Is(err, ipc.ErrClosed):
		what := "the daemon went away before it answered"
		if errno, ok := ipc.Fault(err); ok {
			what = "the connection to the daemon broke before it answered: " + errno.Error()
		}
		if errors.Is(err, ipc.ErrUnsent) {
			return &Error{Verdict: string(probe.Lost), Code: "draining", Err: err, Message: method + ": " + what, Hint: "ask again: nothing was done"}
		}
		return &Error{Verdict: string(probe.Lost), Code: "lost", Err: err, Message: method + ": " + what,
			Hint: "ask again: whether it was done is not known"}
	}
	return &Error{Code: "failed", Message: fmt.Sprintf("%s: %v", method, err), Err: err}
}

// wireError turns what a handler returned into what goes over the wire.
func wireError(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &ipc.Error{Code: ipc.CodeFailed, Message: err.Error(), Data: &ipc.ErrorData{Code: e.Code, Hint: e.Hint}}
}

// isHeld reports whether somebody else has the lock or the guard.
func isHeld(err error) bool { return errors.Is(err, lock.ErrHeld) }
