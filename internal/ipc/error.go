package ipc

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/sourcegraph/jsonrpc2"
)

// Codes of JSON-RPC 2.0, and the one for an error that a handler returned.
// Which of hob's errors it is stands in ErrorData.Code.
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
	CodeFailed         = -32000
)

// Error is an error as it goes over the wire, in both directions: what a
// Handler returns, alone or wrapped, is what the peer's Call returns.
type Error struct {
	Code    int        `json:"code"`
	Message string     `json:"message"`
	Data    *ErrorData `json:"data,omitempty"`
}

// ErrorData is what programs read. A Code, once shipped, keeps its meaning.
type ErrorData struct {
	Code string `json:"code"` // snake_case: not_running, no_such_service
	Hint string `json:"hint,omitempty"`
}

// Error is the message alone: it was written to be read.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("error %d", e.Code)
	}
	return e.Message
}

// ErrClosed is what a call on a dead connection returns, wrapped together with
// the cause where one is known: io.EOF, ECONNRESET, EPIPE, an *Error with which
// the peer refused the connection, net.ErrClosed after a local Close.
var ErrClosed = errors.New("connection closed")

// closedBy joins the two so that errors.Is finds either.
func closedBy(cause error) error {
	if cause == nil || errors.Is(cause, net.ErrClosed) {
		return closedHere{}
	}
	return fmt.Errorf("%w: %w", ErrClosed, cause)
}

// Fault returns the errno with which a read or a write of ours has failed, if that is why a connection is over, and not the peer's end.
func Fault(err error) (syscall.Errno, bool) {
	errno, ok := errors.AsType[syscall.Errno](err)
	return errno, ok && errno != syscall.EPIPE && errno != syscall.ECONNRESET
}

// closedHere needs no cause in its text.
type closedHere struct{}

func (closedHere) Error() string   { return ErrClosed.Error() }
func (closedHere) Unwrap() []error { return []error{ErrClosed, net.ErrClosed} }

// wireError turns what a handler returned into what is sent.
func wireError(err error) *jsonrpc2.Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Code: CodeFailed, Message: err.Error()}
	}
	w := &jsonrpc2.Error{Code: int64(e.Code), Message: e.Message}
	w.SetError(cmp.Or(e.Data, &ErrorData{Code: "failed"})) // two strings: it cannot fail
	return w
}

// fromWire is the reverse. Data of another shape than ours is dropped.
func fromWire(w *jsonrpc2.Error) *Error {
	e := &Error{Code: int(w.Code), Message: w.Message}
	if w.Data != nil {
		var d ErrorData
		if json.Unmarshal(*w.Data, &d) == nil && d != (ErrorData{}) {
			e.Data = &d
		}
	}
	return e
}
