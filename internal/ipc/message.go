package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// envelope is what of a message decides whether jsonrpc2 may see it: that
// package takes a null id for a notification in a request and for id 0 in a
// response, wraps negative ids round, and reads batches as malformed structs.
type envelope struct {
	ID     json.RawMessage `json:"id"`
	Method json.RawMessage `json:"method"`
	Result present         `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// present is true for a key that is there, also with a null.
type present bool

func (p *present) UnmarshalJSON([]byte) error { *p = true; return nil }

// checkMessage returns nil for one request, notification or response that
// jsonrpc2 reads as it was meant. frame is not empty and starts with no space.
// errRefused is for an error that the peer sent without an id: it refuses the connection.
func checkMessage(frame []byte) error {
	if frame[0] == '[' {
		return invalid("batch is not supported")
	}
	var m envelope
	if err := json.Unmarshal(frame, &m); err != nil {
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return &Error{Code: CodeParse, Message: "parse error: " + err.Error() + " (a message is one line, or has a Content-Length header)"}
		}
		return invalid("not an object")
	}
	if err := checkKeys(frame); err != nil {
		return err
	}
	failed := len(m.Error) > 0 && string(m.Error) != "null"
	request, response := len(m.Method) > 0, bool(m.Result) || failed
	switch {
	case request == response:
		return invalid("neither a request nor a response")
	case request && m.Method[0] != '"':
		return invalid("method is not a string")
	case request && m.ID == nil:
		return nil // a notification
	case response && failed && (m.ID == nil || string(m.ID) == "null"):
		return refusal(m.Error)
	case !validID(m.ID):
		return invalid("id is not a string or an integer from 0 to 2^63-1")
	}
	return nil
}

// checkKeys returns an error for a key that only looks like one of a message's: encoding/json takes "ID" for "id", and jsonrpc2, which
// uses it, does so in some places only. frame is an object.
func checkKeys(frame []byte) error {
	if !bytes.ContainsFunc(frame, otherSpelling) {
		return nil
	}
	var keys map[string]present
	if err := json.Unmarshal(frame, &keys); err != nil {
		return invalid("not an object")
	}
	for key := range keys {
		for _, name := range []string{"id", "method", "result", "error"} {
			if key != name && strings.EqualFold(key, name) {
				return invalid(fmt.Sprintf("%q is not %q", key, name))
			}
		}
	}
	return nil
}

// otherSpelling reports whether r can be in a key that stands for one in small letters.
func otherSpelling(r rune) bool {
	return 'A' <= r && r <= 'Z' || r == '\\' || r > unicode.MaxASCII
}

// validID says whether an id comes back from jsonrpc2 as it went in.
func validID(id json.RawMessage) bool {
	if len(id) == 0 {
		return false
	}
	if id[0] == '"' {
		return true
	}
	_, err := strconv.ParseUint(string(id), 10, 63)
	return err == nil
}

// errRefused holds the peer's error about the connection as a whole.
type errRefused struct{ by *Error }

func (e errRefused) Error() string { return e.by.Error() }
func (e errRefused) Unwrap() error { return e.by }

func refusal(raw json.RawMessage) error {
	e := new(Error)
	if json.Unmarshal(raw, e) != nil {
		e = &Error{Code: CodeInternal, Message: "refused without a readable reason"}
	}
	return errRefused{e}
}

func invalid(why string) *Error {
	return &Error{Code: CodeInvalidRequest, Message: "invalid request: " + why}
}
