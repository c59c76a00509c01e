package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/version"
)

// takeOverTries is how often a hobd that a manager has started has another one retire: a client can always be quicker.
const takeOverTries = 20

// serveInstance is hob.Serve, for which a hobd in the background may have to go first.
func (d *daemon) serveInstance(ctx context.Context, o *hob.ServeOptions) error {
	for try := 1; ; try++ {
		err := hob.Serve(ctx, hob.Instance{Dir: d.inst.Root.Path}, d.handler(), o)
		e, ok := errors.AsType[*hob.Error](err)
		if !ok || e.Code != "already_running" {
			return err
		}
		if !o.Foreground {
			return err
		}
		if d.boss == nil || try == takeOverTries {
			e.Hint = "clients use that one as it is; to end it and its services: hob daemon stop"
			return e
		}
		if err := d.relieve(ctx); err != nil {
			return err
		}
	}
}

// relieve has a hobd in the background leave, and keep what runs, for one that a manager has started: the manager would see its own fail,
// again and again, as long as the other one serves. One in the foreground is somebody's own: two managers would take it from each other for ever.
func (d *daemon) relieve(ctx context.Context) error {
	c, err := hob.Dial(ctx, hob.Instance{Dir: d.inst.Root.Path},
		&hob.DialOptions{Client: "hobd", Build: version.String(), NoSpawn: true, NoLease: true})
	if e, ok := errors.AsType[*hob.Error](err); ok && e.Code == "not_running" {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if w := c.Welcome(); w.Foreground {
		return &hob.Error{Code: "already_running", Pid: w.Pid,
			Message: fmt.Sprintf("serve %s: another hobd serves it in the foreground (pid %d)", d.inst.Root.Path, w.Pid),
			Hint:    "end that one where it was started"}
	}
	d.log.Info("a hobd in the background leaves for this one", "pid", c.Welcome().Pid)
	if err := c.Stop(ctx, true); err != nil {
		return err
	}
	d.guard.seen = time.Time{} // it was not away
	return nil
}
