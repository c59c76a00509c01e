package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

// gap is the longest time in which clients that ask all the time may be without an answer while hobd is upgraded.
const gap = 50 * time.Millisecond

// breath is between an answer and the next question, so that who asks does not take the processor from who is to answer.
const breath = time.Millisecond

// upgrades measures how long two clients that ask all the time, one on its connection and one that always makes another, wait for an
// answer at most while hobd becomes another program. The floor is the same without an upgrade, for as long.
func upgrades(ctx context.Context, p place, o options) error {
	if err := p.write(crowd, "", "sleep", "1000"); err != nil {
		return err
	}
	before, err := p.up(ctx, crowd)
	if err != nil {
		return err
	}
	was, err := p.start(ctx)
	if err != nil {
		return err
	}
	var floor, kept, anew, took sample
	for range o.runs {
		began := time.Now()
		k, a, err := p.longest(ctx, func() error { _, err := p.time(ctx, "hob", "daemon", "upgrade"); return err })
		if err != nil {
			return err
		}
		took, kept, anew = append(took, time.Since(began)), append(kept, k), append(anew, a)
		k, a, err = p.longest(ctx, func() error { pause(ctx, took[len(took)-1]); return nil })
		if err != nil {
			return err
		}
		floor = append(floor, max(k, a))
	}
	now, err := p.start(ctx)
	if err != nil {
		return err
	}
	after, err := p.ask(ctx, "ps")
	if err != nil {
		return err
	}
	if now.Daemon.Pid != was.Daemon.Pid {
		return fmt.Errorf("hobd has pid %d, not %d", now.Daemon.Pid, was.Daemon.Pid)
	}
	p.header(fmt.Sprintf("%d upgrades, %d services", o.runs, crowd))
	p.line("hob daemon upgrade, the whole process", took)
	p.line("longest gap, no upgrade", floor)
	p.within("longest gap, on one connection", kept, gap)
	p.within("longest gap, a new connection each", anew, gap)
	p.printf("%d upgrades: no call or connection failed\n", o.runs)
	return before.adopted(after, o.runs)
}

// within is a line whose largest value has an aim of its own.
func (r *report) within(name string, s sample, most time.Duration) {
	r.row(name, s, "", r.judge(name, fmt.Sprintf("max ≤ %v", most), slices.Max(s).Seconds(), most.Seconds()))
}

// longest gives the longest times without an answer while f runs. Whoever is refused is an error.
func (p place) longest(ctx context.Context, f func() error) (kept, anew time.Duration, err error) {
	stop := make(chan struct{})
	first, second := p.askAlways(ctx, true, stop), p.askAlways(ctx, false, stop)
	err = f()
	close(stop)
	a, b := <-first, <-second
	return a.longest, b.longest, errors.Join(err, a.err, b.err)
}

type asked struct {
	longest time.Duration
	err     error
}

// askAlways asks for the services until it is told to stop, on one connection or always on another one. It has one answer when it returns.
func (p place) askAlways(ctx context.Context, keep bool, stop <-chan struct{}) <-chan asked {
	out, begun := make(chan asked, 1), make(chan struct{})
	go func() {
		var a asked
		a.longest, a.err = p.asking(ctx, keep, begun, stop)
		out <- a
	}()
	select {
	case <-begun:
	case a := <-out: // it failed
		out <- a
	}
	return out
}

func (p place) asking(ctx context.Context, keep bool, begun chan<- struct{}, stop <-chan struct{}) (longest time.Duration, err error) {
	var c *hob.Client
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	var last time.Time
	for {
		if c == nil {
			if c, err = hob.Dial(ctx, hob.Instance{Dir: p.project}, &hob.DialOptions{NoSpawn: true, NoLease: true}); err != nil {
				return 0, fmt.Errorf("connect: %w", err)
			}
		}
		var answer api.ServicesResult
		if err := c.Call(ctx, api.ServiceList.Name, api.NamesParams{Names: []string{serviceName(0)}}, &answer); err != nil {
			return 0, fmt.Errorf("call: %w", err)
		}
		if len(answer.Services) != 1 || answer.Services[0].State != "running" {
			return 0, fmt.Errorf("service.list: %+v", answer.Services)
		}
		now := time.Now()
		if last.IsZero() {
			close(begun)
		} else {
			longest = max(longest, now.Sub(last))
		}
		last = now
		if !keep {
			c.Close()
			c = nil
		}
		select {
		case <-stop:
			return longest, nil
		case <-time.After(breath):
		}
	}
}
