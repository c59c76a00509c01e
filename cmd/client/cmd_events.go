package client

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
)

func (a *app) cmdEvents() *cobra.Command {
	c := a.verb("events", "Print every change of a service as a line of JSON, until Ctrl-C", none(func(ctx context.Context) error {
		return a.watching(ctx, a.events)
	}))
	c.Long = `Print a line of JSON for each service as it is, and then one for every change, until Ctrl-C. It goes on
through the end of hobd and with the next one, and starts none but for services that should run.`
	return c
}

// The pauses between two looks for a daemon.
const minLook, maxLook = 50 * time.Millisecond, time.Second

// events prints the changes that one daemon after the other tells.
func (a *app) events(ctx context.Context) error {
	lines := newEventLines(a)
	a.notify = lines.notified
	was, look := "", minLook
	for {
		err := a.eventsOf(ctx, &was, lines)
		switch {
		case lines.failed() != nil:
			return lines.failed()
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !isAbsent(err) && !isCode(err, codeLost) && !isCode(err, api.CodeDraining):
			return err
		}
		if was == "ready" {
			look = minLook
		}
		lines.daemon(&was, "absent")
		if !pause(ctx, look) {
			return ctx.Err()
		}
		look = min(2*look, maxLook)
	}
}

// eventsOf prints what one daemon tells, as long as it lives.
func (a *app) eventsOf(ctx context.Context, was *string, lines *eventLines) error {
	dial := a.contact
	if a.daemonIsMissing() {
		dial = a.dial
	}
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	lines.daemon(was, "ready")
	_, err = api.ServiceEvents.Call(ctx, c, api.None{})
	return err
}

// daemonIsMissing reports that services should be looked after, and only a daemon can.
func (a *app) daemonIsMissing() bool {
	_, disk, err := a.disk()
	boot := store.BootID()
	for _, st := range disk {
		if err == nil && st.Want == service.Up && mayLive(st, boot) {
			return true
		}
	}
	return false
}

// eventLines writes events to stdout as they come.
type eventLines struct {
	app *app
	err chan error // the first that writing came to
}

func newEventLines(a *app) *eventLines { return &eventLines{app: a, err: make(chan error, 1)} }

func (l *eventLines) failed() error {
	select {
	case err := <-l.err:
		l.err <- err
		return err
	default:
		return nil
	}
}

func (l *eventLines) notified(method string, params json.RawMessage) {
	var ev api.Event
	if method == api.ServiceEvent && json.Unmarshal(params, &ev) == nil {
		l.print(ev)
	}
}

// daemon tells that the daemon came or went.
func (l *eventLines) daemon(was *string, is string) {
	if *was != is {
		l.print(api.Event{V: api.V, Time: time.Now().UTC(), Type: api.TypeDaemon, From: *was, To: is})
		*was = is
	}
}

func (l *eventLines) print(ev api.Event) {
	if err := l.app.print(ev); err != nil && !errors.Is(err, unix.EPIPE) {
		select {
		case l.err <- err:
		default:
		}
	}
}
