package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// ripe is how long services run before one is killed: runit and s6 start what has not run for a second only after that.
const ripe = 1500 * time.Millisecond

// kept are the services of a rig.
type kept struct {
	said *reports
	pids []int
	took sample
	text string // what the daemons hold
}

// againAll: what the daemons hold with 20 services that have nothing to do; then, from the SIGKILL of one of them to the first
// act of its next process. Each is killed once, since some wait before a second restart.
func againAll(ctx context.Context, o options, rigs []*rig) error {
	all := map[*rig]*kept{}
	defer func() {
		for _, k := range all {
			k.said.close()
		}
	}()
	for _, r := range rigs {
		if r.write == nil {
			continue
		}
		k := &kept{}
		var err error
		if k.said, err = newReports(ctx, r.path("said")); err != nil {
			return err
		}
		all[r] = k
		if err := r.raise(ctx, k); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	rested := ripe
	if o.idle > time.Second { // with -short it does not matter what a start leaves behind
		rested = calm
	}
	pause(ctx, rested)
	if err := weigh(all); err != nil {
		return err
	}
	if err := killInTurns(ctx, min(crowd, o.runs), rigs, all); err != nil {
		return err
	}
	took, more := map[*rig]sample{}, map[*rig]string{}
	for r, k := range all {
		took[r], more[r] = k.took, k.text
	}
	o.table(fmt.Sprintf("crash → running, %d services; PSS before", crowd), rigs, took, more)
	for _, r := range rigs {
		if took[r] != nil && r.waits != "" {
			o.printf("%s %s\n", r.name, r.waits)
		}
	}
	return nil
}

// raise has the daemon start its services, and waits for all.
func (r *rig) raise(ctx context.Context, k *kept) (err error) {
	if err := r.fill(func(int) []string { return []string{filepath.Join(r.bin, "worker"), "stamp", k.said.path} }); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	if r.apply != nil {
		if _, err := r.time(ctx, r.apply); err != nil {
			return err
		}
	}
	k.pids, err = k.said.pids(crowd)
	return err
}

// weigh asks what the daemons hold.
func weigh(all map[*rig]*kept) error {
	for r, k := range all {
		n, err := r.pss()
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		daemons := len(r.daemons())
		k.text = fmt.Sprintf("%.1f MB in %d processes", float64(n)/1e6, daemons)
		if daemons == 1 {
			k.text = fmt.Sprintf("%.1f MB in 1 process", float64(n)/1e6)
		}
	}
	return nil
}

// killInTurns kills n services of each, one of all rigs after the other. Each must be started once for it.
func killInTurns(ctx context.Context, n int, rigs []*rig, all map[*rig]*kept) error {
	for i := range n {
		for _, r := range rigs {
			k := all[r]
			if k == nil {
				continue
			}
			d, err := k.said.again(k.pids[i])
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			k.took = append(k.took, d)
			pause(ctx, rest)
		}
	}
	for r, k := range all {
		if err := k.said.none(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}
