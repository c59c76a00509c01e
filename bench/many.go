package main

import (
	"context"
	"errors"
	"fmt"
)

// many measures the start and the stop of many services at once, with a hobd that is there and knows them.
func many(ctx context.Context, p place, o options) (err error) {
	n := o.services
	if err := p.write(n, "", "sleep", "1000"); err != nil {
		return err
	}
	all := []string{"stop"}
	for i := range n {
		all = append(all, serviceName(i))
	}
	l, err := p.loop(ctx, n, "/bin/sleep", "1000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var floorStart, floorStop, start, down, stop sample
	for i := range 2 * o.rounds {
		d, err := l.time("start")
		if err != nil {
			return err
		}
		floorStart = append(floorStart, d)
		if d, err = l.time("stop"); err != nil {
			return err
		}
		floorStop = append(floorStop, d)
		if _, err := p.start(ctx); err != nil {
			return err
		}
		if d, err = p.time(ctx, "hob", "up", "--no-wait"); err != nil {
			return err
		}
		start = append(start, d)
		s, err := p.up(ctx, n)
		if err != nil {
			return err
		}
		args, to := []string{"down"}, &down
		if i%2 == 1 {
			args, to = all, &stop
		}
		if d, err = p.time(ctx, "hob", args...); err != nil {
			return err
		}
		*to = append(*to, d)
		if err := s.none(); err != nil {
			return err
		}
	}
	p.header(fmt.Sprint(n) + " services")
	p.line("start  bare Go loop", floorStart)
	p.compare("start  hob up --no-wait", start, floorStart, times(1.5))
	p.line("stop   bare Go loop", floorStop)
	p.compare("stop   hob down", down, floorStop, times(3))
	if len(stop) > 0 { // with -short there is one round
		p.compare("stop   hob stop NAME…", stop, floorStop, times(3))
	}
	return nil
}
