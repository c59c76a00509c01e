package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// settle is how long daemons may take, after the last client has ended, to find out that they are one too many.
const settle = 100 * time.Millisecond

// rushes are what came of many clients at once, time after time: how long all took, how many daemons there were
// afterwards, how many clients failed.
type rushes struct {
	took    sample
	daemons []int
	failed  int
}

// rushAll: many clients at once with nothing there. What becomes of a peer's is only told; hob has to end up with one daemon
// and no client that failed.
func rushAll(ctx context.Context, o options, rigs []*rig) error {
	seen := map[*rig]*rushes{}
	for range o.herds {
		for _, r := range rigs {
			if r.cold == nil {
				continue
			}
			if seen[r] == nil {
				seen[r] = &rushes{}
			}
			if err := r.rush(ctx, o, seen[r]); err != nil {
				return err
			}
		}
	}
	took, more, failed := map[*rig]sample{}, map[*rig]string{}, 0
	for r, s := range seen {
		took[r], failed = s.took, failed+s.failed
		more[r] = s.text(o.herds * o.rush)
	}
	o.table(fmt.Sprintf("%d clients at once, nothing there", o.rush), rigs, took, more)
	if failed > 0 {
		o.printf("a client that took longer than %v was ended and counts as failed\n", o.limit)
	}
	if ours := seen[rigs[0]]; ours.failed > 0 || slices.Min(ours.daemons) != 1 || slices.Max(ours.daemons) != 1 {
		return fmt.Errorf("hob: %s", more[rigs[0]])
	}
	return nil
}

// text is for the end of the line of clients.
func (s *rushes) text(clients int) string {
	least, most := slices.Min(s.daemons), slices.Max(s.daemons)
	daemons := fmt.Sprintf("%d daemons", most)
	switch {
	case least != most:
		daemons = fmt.Sprintf("%d to %d daemons", least, most)
	case most == 1:
		daemons = "1 daemon"
	}
	return fmt.Sprintf("%s, %d of %d clients failed", daemons, s.failed, clients)
}

// rush starts clients, waits for all, adds to s what came of it, and ends what there is then.
func (r *rig) rush(ctx context.Context, o options, s *rushes) error {
	limited, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	var failed atomic.Int32
	var all sync.WaitGroup
	began := time.Now()
	for range o.rush {
		all.Go(func() {
			if _, err := r.time(limited, r.cold); err != nil {
				failed.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	pause(ctx, settle)
	// Clients that were interrupted have not failed.
	if err := ctx.Err(); err != nil {
		return err
	}
	s.took, s.daemons, s.failed = append(s.took, took), append(s.daemons, len(r.daemons())), s.failed+int(failed.Load())
	return r.end(ctx)
}
