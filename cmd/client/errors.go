package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
)

// status is an exit status without a word: it was all said, or it is the service's own.
type status int

func (s status) Error() string { return fmt.Sprintf("exit %d", int(s)) }

// The exit statuses.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitNoService  = 4
	exitTimeout    = 124
)

// usage is the error for what was typed wrong.
func usage(hint, format string, args ...any) error {
	return &hob.Error{Code: api.CodeUsage, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func noSuchService(name string) error {
	return &hob.Error{Code: api.CodeNoSuchService, Message: fmt.Sprintf("service %q: no such service", name), Hint: "see \"hob ps\""}
}

// isCode reports whether err is an *hob.Error with that code.
func isCode(err error, code string) bool {
	var e *hob.Error
	return errors.As(err, &e) && e.Code == code
}

// answered reports whether err is what a daemon answered, with that code, and not why there is none.
func answered(err error, code string) bool {
	var e *hob.Error
	return errors.As(err, &e) && e.Code == code && e.Verdict == ""
}

// finish says what went wrong, once, and gives the exit status.
func (a *app) finish(err error) int {
	var s status
	var call *hob.Error // a connection may end so, too
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &s):
		return int(s)
	case errors.Is(err, unix.EPIPE) && !errors.As(err, &call):
		return exitOK // whoever read us has seen enough
	}
	e := a.explain(err)
	if a.json {
		if err := a.print(api.ErrorDocument{V: api.V, Error: e}); err != nil && !errors.Is(err, unix.EPIPE) {
			a.words("hob: %v", err)
		}
		return exitStatus(e.Code)
	}
	a.words("hob: %s", e.Message)
	if e.Hint != "" {
		a.words("hob: hint: %s", e.Hint)
	}
	return exitStatus(e.Code)
}

// explain gives the error its code and its way out.
func (a *app) explain(err error) api.Error {
	out := api.Error{Code: api.CodeFailed, Message: strings.TrimSpace(err.Error())}
	var e *hob.Error
	switch {
	case errors.As(err, &e):
		out.Code, out.Hint = e.Code, e.Hint
	case !a.understood:
		out.Code = api.CodeUsage
	case errors.Is(err, context.DeadlineExceeded):
		out.Code = api.CodeTimeout
		out.Message = fmt.Sprintf("%s: not done in %v", a.called, a.timeout)
		if err.Error() != context.DeadlineExceeded.Error() {
			out.Message += ": " + strings.TrimSpace(err.Error())
		}
	}
	if out.Hint == "" {
		out.Hint = hintOf(err)
	}
	return out
}

func exitStatus(code string) int {
	switch code {
	case api.CodeUsage, api.CodeBadConfig:
		return exitUsage
	case api.CodeNotRunning:
		return exitNotRunning
	case api.CodeNoSuchService:
		return exitNoService
	case api.CodeTimeout:
		return exitTimeout
	}
	return exitFailed
}

// hintOf is the way out of what a directory can be wrong about.
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
	}
	return ""
}

// absent reports that a file or directory is not there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) }
