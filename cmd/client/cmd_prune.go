package client

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

func (a *app) cmdPrune() *cobra.Command {
	return a.verb("prune", "Remove what belongs to deleted projects: state and logs", none(a.prune))
}

func (a *app) prune(ctx context.Context) error {
	all, err := instances()
	if err != nil {
		return err
	}
	removed := []api.Instance{}
	var failed error
	for _, k := range all {
		if !k.gone {
			continue
		}
		inst := k.describe(ctx)
		err := hob.Discard(ctx, k.inst.ID)
		switch {
		case err == nil:
			a.say("%s: removed", k.meta.Project)
			removed = append(removed, inst)
		case isCode(err, "busy"):
			a.say("%s: kept, its daemon still runs", k.meta.Project)
		default:
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return failed
	}
	if len(removed) == 0 {
		a.say("nothing to remove")
	}
	return a.show(api.ListDocument{V: api.V, Instances: removed})
}
