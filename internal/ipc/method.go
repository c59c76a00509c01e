package ipc

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
)

// Method is one method: its name, what it takes and what it gives. Declared
// once, used by the client, the daemon and the generated docs.
type Method[P, R any] struct {
	Name string
	Doc  string
}

// Caller is what a Method can be called on; *Conn is one.
type Caller interface {
	Call(ctx context.Context, method string, params, result any) error
}

// Call calls the method on c. R is its zero value when the error is not nil,
// which is c.Call's.
func (m Method[P, R]) Call(ctx context.Context, c Caller, p P) (R, error) {
	var r R
	if err := c.Call(ctx, m.Name, p, &r); err != nil {
		return *new(R), err
	}
	return r, nil
}

// Bind makes f the method's answer in mux. A name that is already bound is a
// mistake in the program: it panics. Absent params are P's zero value, unknown
// fields of them are ignored.
func (m Method[P, R]) Bind(mux *Mux, f func(ctx context.Context, p P) (R, error)) {
	mux.bind(m.Name, func(ctx context.Context, raw json.RawMessage) (any, error) {
		var p P
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &p); err != nil {
				return nil, &Error{Code: CodeInvalidParams, Message: "invalid params: " + m.Name + ": " + err.Error(),
					Data: &ErrorData{Code: "invalid_params"}}
			}
		}
		return f(ctx, p)
	})
}

// Mux routes requests by name. The zero value is empty and usable. Bind first,
// then serve: Handle may be called from several goroutines, Bind may not.
type Mux struct {
	methods map[string]func(context.Context, json.RawMessage) (any, error)
}

func (m *Mux) bind(name string, f func(context.Context, json.RawMessage) (any, error)) {
	if _, twice := m.methods[name]; twice {
		panic("ipc: method bound twice: " + name)
	}
	if m.methods == nil {
		m.methods = map[string]func(context.Context, json.RawMessage) (any, error){}
	}
	m.methods[name] = f
}

// Handle calls the method. For a name that is not bound, and for params that do
// not decode, the error is an *Error.
func (m *Mux) Handle(ctx context.Context, method string, params json.RawMessage) (any, error) {
	f, ok := m.methods[method]
	if !ok {
		return nil, noSuchMethod(method)
	}
	return f(ctx, params)
}

// Names returns the names of the methods bound, sorted.
func (m *Mux) Names() []string { return slices.Sorted(maps.Keys(m.methods)) }
