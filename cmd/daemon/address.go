package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/supervisor"
)

// serviceAddress says where a service is reached, and sees to it that it can be.
func (d *daemon) serviceAddress(ctx context.Context, r *hob.Request, p api.AddressParams) (api.AddressResult, error) {
	st, err := d.sup.Status(p.Name)
	if errors.Is(err, supervisor.ErrNoSuchService) {
		if _, known := d.inFile(p.Name); !known {
			return api.AddressResult{}, d.unknown(err, []string{p.Name})
		}
		if _, err := d.projectUp(ctx, r, api.UpParams{Names: []string{p.Name}, Env: p.Env, Color: p.Color}); err != nil {
			return api.AddressResult{}, err
		}
		st, err = d.sup.Status(p.Name)
	}
	if err != nil {
		return api.AddressResult{}, err
	}
	if !st.Ready.Own && st.Addr().Network == "" {
		return api.AddressResult{}, &hob.Error{Code: api.CodeNoAddress,
			Message: fmt.Sprintf("service %q: it has no socket, and does not say where it listens", p.Name),
			Hint:    "give it listen, or ready with tcp or http, in hob.toml"}
	}
	if p.Start || st.State != service.Idle {
		st, err = d.sup.Demand(ctx, p.Name)
	}
	if err != nil {
		return api.AddressResult{}, err
	}
	addr := st.Addr()
	return api.AddressResult{Network: addr.Network, Address: addr.Addr, Service: d.document(st, nil)}, nil
}

// serviceHold gives a lease.
func (d *daemon) serviceHold(ctx context.Context, r *hob.Request, p api.HoldParams) (none api.None, err error) {
	switch {
	case p.Pid < 0:
		return none, &hob.Error{Code: api.CodeUsage, Message: fmt.Sprintf("hold for pid %d: not a pid", p.Pid)}
	case p.Pid > 0:
		return none, d.unknown(d.sup.HoldFor(p.Pid, p.Names...), p.Names)
	}
	release, err := d.sup.Hold(p.Names...)
	if err != nil {
		return none, d.unknown(err, p.Names)
	}
	defer release()
	if err := r.Notify(api.ServiceHeld, none); err != nil {
		return none, err
	}
	select {
	case <-ctx.Done(): // also for an upgrade: the next program has it go on
		return none, ctx.Err()
	case <-d.leaving:
		return none, nil
	}
}
