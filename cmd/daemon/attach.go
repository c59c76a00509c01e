package daemon

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

const (
	maxInput = 64 << 10    // bytes of one call
	endTime  = time.Second // from the end of a terminal to that of the service
)

// serviceAttach sends what a service writes to its terminal, until that ends.
func (d *daemon) serviceAttach(ctx context.Context, r *hob.Request, p api.AttachParams) (api.ServicesResult, error) {
	t, began, err := d.sup.Terminal(p.Name)
	if err != nil {
		return api.ServicesResult{}, d.unknown(err, []string{p.Name})
	}
	if p.Rows != 0 || p.Cols != 0 {
		if _, err := d.serviceResize(ctx, p); err != nil {
			return api.ServicesResult{}, err
		}
	}
	a := t.Attach()
	defer a.Close()
	for open := true; open; {
		var data []byte
		select {
		case data, open = <-a.C():
		case <-ctx.Done():
			return api.ServicesResult{}, ctx.Err()
		case <-d.leaving:
			return api.ServicesResult{}, &hob.Error{Code: api.CodeDraining, Message: "the daemon is leaving"}
		}
		if open {
			if err := r.Notify(api.ServiceOutput, api.Output{Name: p.Name, Data: data}); err != nil {
				return api.ServicesResult{}, err
			}
		}
	}
	return d.ended(ctx, began)
}

// ended is a service whose terminal has ended, or that somebody was too slow for. What is told is the end of the run that was attached to, also
// when the next one has begun.
func (d *daemon) ended(ctx context.Context, began service.Status) (api.ServicesResult, error) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	st, err := d.sup.WaitExitOf(ctx, began)
	if ctx.Err() != nil {
		st, err = d.sup.Status(began.Name)
	}
	if err != nil {
		return api.ServicesResult{}, err
	}
	return api.ServicesResult{Services: []api.Service{d.document(st, nil)}}, nil
}

// serviceInput types.
func (d *daemon) serviceInput(_ context.Context, p api.InputParams) (none api.None, err error) {
	if len(p.Data) > maxInput {
		return none, &hob.Error{Code: api.CodeUsage, Message: fmt.Sprintf("%d bytes at once: more than %d", len(p.Data), maxInput)}
	}
	t, _, err := d.sup.Terminal(p.Name)
	if err == nil {
		_, err = t.Write(p.Data)
	}
	return none, err
}

func (d *daemon) serviceResize(_ context.Context, p api.AttachParams) (none api.None, err error) {
	if p.Rows < 1 || p.Rows > math.MaxUint16 || p.Cols < 1 || p.Cols > math.MaxUint16 {
		return none, &hob.Error{Code: api.CodeUsage, Message: fmt.Sprintf("%d rows, %d columns: not the size of a terminal", p.Rows, p.Cols)}
	}
	t, _, err := d.sup.Terminal(p.Name)
	if err == nil {
		err = t.Resize(uint16(p.Rows), uint16(p.Cols))
	}
	return none, err
}
