package client

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

func (a *app) cmdAttach() *cobra.Command {
	c := a.verb("attach NAME", "Join this terminal to a service's; Ctrl-\\ twice detaches", func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usage("hob attach NAME", "attach: to exactly one service")
		}
		s, detached, err := a.attach(ctx, args[0])
		switch {
		case err != nil:
			return err
		case detached:
			a.say("%s: detached, it runs on", args[0])
		default:
			a.say("%s: %s", args[0], outcome(s))
		}
		return nil
	})
	c.ValidArgsFunction = a.serviceNames
	return c
}

// attach joins the terminal to a service's until that ends or the person has had enough.
func (a *app) attach(ctx context.Context, name string) (s api.Service, detached bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	output := make(chan []byte)
	t := &terminalSession{a: a, ctx: ctx, name: name}
	defer t.close()
	ended := make(chan error, 1)
	go func() {
		var werr error
		s, werr = a.watchTerminal(ctx, name, output)
		close(output)
		ended <- werr
	}()
	detached, err = attachTerminal(ctx, os.Stdin, os.Stdout, t, output)
	cancel()
	if werr := <-ended; !detached && err == nil {
		err = werr
	}
	return s, detached, err
}

// watchTerminal sends what the service writes to output until its terminal ends, through as many daemons as it takes.
func (a *app) watchTerminal(ctx context.Context, name string, output chan<- []byte) (api.Service, error) {
	b := *a
	b.notify = func(method string, params json.RawMessage) {
		var o api.Output
		if method != api.ServiceOutput || json.Unmarshal(params, &o) != nil {
			return
		}
		select {
		case output <- o.Data:
		case <-ctx.Done():
		}
	}
	for attached := false; ; attached = true {
		var s api.Service
		err := b.with(ctx, b.dial, func(c *hob.Client) (err error) {
			s, err = one(api.ServiceAttach.Call(ctx, c, api.AttachParams{Name: name}))
			return err
		})
		gone := isCode(err, codeLost) || isCode(err, api.CodeDraining)
		if !gone || ctx.Err() != nil {
			if attached && isCode(err, api.CodeNotRunning) {
				_, s, err = a.ended(name) // while no daemon looked
			}
			return s, err
		}
		if !pause(ctx, 10*time.Millisecond) {
			return s, ctx.Err()
		}
	}
}

// terminalSession types into a service's terminal. It has a connection of its own, since the other one may wait for
// somebody to read.
type terminalSession struct {
	a    *app
	ctx  context.Context
	name string

	mu sync.Mutex // guards c: a call can outlive the leave that is taken of it
	c  *hob.Client
}

// Input implements session.
func (t *terminalSession) Input(p []byte) error {
	return t.call(func(c *hob.Client) error {
		_, err := api.ServiceInput.Call(t.ctx, c, api.InputParams{Name: t.name, Data: p})
		return err
	})
}

// Resize implements session.
func (t *terminalSession) Resize(rows, cols int) error {
	return t.call(func(c *hob.Client) error {
		_, err := api.ServiceResize.Call(t.ctx, c, api.AttachParams{Name: t.name, Rows: rows, Cols: cols})
		return err
	})
}

// call asks once more when the daemon was replaced, as long as it has not been asked; what was typed to one that was
// killed may be lost, but is not typed twice. A service that has ended takes nothing any more, which is for the other connection to tell.
func (t *terminalSession) call(f func(*hob.Client) error) (err error) {
	for range drainTries {
		var c *hob.Client
		if c, err = t.client(); err != nil {
			return err
		}
		err = f(c)
		if isCode(err, codeLost) || isCode(err, api.CodeDraining) {
			t.close()
		}
		if !isCode(err, api.CodeDraining) {
			break
		}
	}
	if isCode(err, codeLost) || isCode(err, api.CodeNotRunning) {
		return nil
	}
	return err
}

// client is connected to the daemon of now.
func (t *terminalSession) client() (*hob.Client, error) {
	t.mu.Lock()
	c := t.c
	t.mu.Unlock()
	if c != nil {
		select {
		case <-c.Done(): // the next daemon can be typed to
			t.close()
		default:
			return c, nil
		}
	}
	c, err := t.a.dial(t.ctx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c = c
	return c, nil
}

func (t *terminalSession) close() {
	t.mu.Lock()
	c := t.c
	t.c = nil
	t.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}
