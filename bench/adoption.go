package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// adoption measures from the SIGKILL of hobd to an answer of the next one about a service, which it does not give before
// all are adopted. The floor is a start with nothing to adopt.
func adoption(ctx context.Context, p place, o options) error {
	var floor, ours sample
	n := o.services
	if err := p.write(n, "", "sleep", "1000"); err != nil {
		return err
	}
	empty, err := newPlace(options{report: o.report, bin: o.bin, work: p.floor}, "empty")
	if err != nil {
		return err
	}
	defer func() { _, _ = empty.time(ctx, "hob", "daemon", "stop") }()
	before, err := p.up(ctx, n)
	if err != nil {
		return err
	}
	for i := range o.rounds {
		d, err := empty.time(ctx, "hob", "daemon", "start")
		if err != nil {
			return err
		}
		floor = append(floor, d)
		if _, err := empty.time(ctx, "hob", "daemon", "stop"); err != nil {
			return err
		}
		s, err := p.ask(ctx, "daemon", "status")
		if err != nil {
			return err
		}
		began := time.Now()
		if err := unix.Kill(s.Daemon.Pid, unix.SIGKILL); err != nil {
			return err
		}
		if _, err := p.time(ctx, "hob", "start", serviceName(0)); err != nil {
			return err
		}
		ours = append(ours, time.Since(began))
		now, err := p.ask(ctx, "ps")
		if err != nil {
			return err
		}
		if err := before.adopted(now, i+1); err != nil {
			return err
		}
	}
	p.header("adoption of " + fmt.Sprint(n) + " services")
	p.line("cold  hob daemon start, nothing there", floor)
	p.compare("SIGKILL of hobd → hob start NAME", ours, floor, &aim{times: 2, plus: 50 * time.Millisecond})
	return nil
}

// adopted checks that the same processes run and were taken over so many times.
func (s status) adopted(now status, times int) error {
	if err := now.all(len(s.Services)); err != nil {
		return err
	}
	for i, v := range now.Services {
		if v.Pid != s.Services[i].Pid || v.Adopted != times {
			return fmt.Errorf("service %s has pid %d, not %d, and was adopted %d times, not %d",
				v.Name, v.Pid, s.Services[i].Pid, v.Adopted, times)
		}
	}
	return nil
}
