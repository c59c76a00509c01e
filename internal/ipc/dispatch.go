package ipc

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/sourcegraph/jsonrpc2"
)

// dispatcher is the jsonrpc2.Handler of a Conn. Handle runs on the read loop.
type dispatcher struct{ c *Conn }

func (d dispatcher) Handle(ctx context.Context, _ *jsonrpc2.Conn, r *jsonrpc2.Request) {
	c := d.c
	req := &Request{Method: r.Method, Notification: r.Notif}
	if r.Params != nil {
		req.Params = *r.Params
	}
	switch {
	case ctx.Err() != nil: // left over in the read buffer
	case c.serveLast(ctx, r.ID, req):
	case r.Notif && c.o.Notify != nil:
		c.o.Notify(req.Method, req.Params)
	case c.o.Handler == nil:
		if !r.Notif {
			c.reply(ctx, &jsonrpc2.Response{ID: r.ID, Error: wireError(noSuchMethod(r.Method))})
		}
	case c.takeSlot(ctx):
		c.active.Add(1)
		go c.serve(ctx, r.ID, req)
	}
}

// takeSlot waits for one of MaxInFlight; false when the connection is over.
func (c *Conn) takeSlot(ctx context.Context) bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	// Nobody reads now, so nobody would see that the peer is gone, and handlers
	// that wait for an event would keep their slots for ever
	// (TestSaturatedConnNoticesHangup).
	defer c.watchHangup()()
	select {
	case c.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Conn) serve(ctx context.Context, id jsonrpc2.ID, req *Request) {
	defer c.active.Done()
	defer func() { <-c.slots }()
	resp := &jsonrpc2.Response{ID: id}
	again := false
	defer func() { // also after runtime.Goexit
		switch {
		case again:
			c.putOff(id, req)
		case !req.Notification:
			c.reply(ctx, resp)
		}
	}()
	again = c.invoke(ctx, req, resp)
}

// invoke calls the handler and encodes what it returned, which is foreign code
// too: a MarshalJSON or an Error method. again means that there is no answer yet.
func (c *Conn) invoke(ctx context.Context, req *Request, resp *jsonrpc2.Response) (again bool) {
	returned := false
	defer func() {
		v := recover()
		if returned {
			return
		}
		// recover is nil for runtime.Goexit.
		resp.Result, resp.Error = nil, wireError(&Error{Code: CodeInternal, Message: "internal error"})
		if v != nil && c.o.OnPanic != nil {
			c.o.OnPanic(v, debug.Stack())
		}
	}()
	result, err := c.o.Handler(ctx, c, req)
	if err == nil && !req.Notification {
		if err = resp.SetResult(result); err != nil {
			err = &Error{Code: CodeInternal, Message: "encode result: " + err.Error()}
		}
	}
	again = errors.Is(err, ErrAgain)
	if err != nil && !again {
		resp.Error = wireError(err)
	}
	returned = true
	return again
}

// reply cannot report: a connection that takes no answer ends by itself.
func (c *Conn) reply(ctx context.Context, resp *jsonrpc2.Response) {
	err := c.rpc.SendResponse(ctx, resp)
	if size, ok := errors.AsType[errFrameSize](err); ok {
		resp.Result, resp.Error = nil, wireError(&Error{Code: CodeInternal, Message: "answer too long: " + size.Error()})
		_ = c.rpc.SendResponse(ctx, resp)
	}
}

func noSuchMethod(name string) *Error {
	return &Error{Code: CodeMethodNotFound, Message: "no such method: " + name, Data: &ErrorData{Code: "no_such_method"}}
}
