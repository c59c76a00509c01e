package hob

import (
	"context"
	"fmt"
	"os"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/lock"
)

// Discard removes the directory of the instance with that id, whose daemon must not run, with
// all that is in it. It holds the lock while it does. The lock file stays: it is never removed.
func Discard(ctx context.Context, id string) error {
	inst, err := instance.ByID(id)
	if err != nil {
		return err
	}
	state, err := inst.OpenState(false)
	if err != nil {
		return err
	}
	defer state.Close()
	key, err := inst.Key(state)
	if err != nil {
		return err
	}
	guard, err := lock.TryGuard(key)
	if err == nil {
		defer guard.Close()
		var l *lock.Lock
		if l, err = lock.TryAcquire(state, inst.LockName()); err == nil {
			defer l.Close()
		}
	}
	if err != nil {
		return &Error{Code: "busy", Err: err, Message: fmt.Sprintf("remove %s: %v", inst.Dir(), err),
			Hint: "stop its daemon first"}
	}
	dir, err := inst.OpenDir(state, false)
	if err != nil {
		return err
	}
	dir.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.RemoveAll(inst.Dir())
}
