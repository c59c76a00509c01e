package supervisor

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// Hold keeps services from being stopped for being idle until release is called, which may be called again; none
// named: every one of now and later. It starts nothing.
func (s *Supervisor) Hold(names ...string) (release func(), err error) {
	if len(names) == 0 {
		s.leases.Add(1)
		return sync.OnceFunc(func() { s.leases.Add(-1) }), nil
	}
	var held []*svc
	for _, name := range names {
		v, err := s.get(name)
		if err != nil {
			return nil, err
		}
		held = append(held, v)
	}
	for _, v := range held {
		v.leases.Add(1)
	}
	return sync.OnceFunc(func() {
		for _, v := range held {
			v.leases.Add(-1)
		}
	}), nil
}

// HoldFor is Hold for as long as a process lives, also across daemons; none named: all that are known now.
func (s *Supervisor) HoldFor(pid int, names ...string) error {
	id, err := process.Identify(pid)
	if err != nil {
		return fmt.Errorf("hold for pid %d: %w", pid, err)
	}
	var held []*svc
	for _, name := range names {
		v, err := s.get(name)
		if err != nil {
			return err
		}
		held = append(held, v)
	}
	if len(names) == 0 {
		held = s.services()
	}
	lease := service.Lease{Pid: id.Pid, Start: id.Start, Boot: id.Boot}
	for _, v := range held {
		if !v.send(event{kind: evLease, lease: lease}) {
			return ErrClosed
		}
	}
	return nil
}

// Busy reports whether there is a reason for this process to stay: something runs, is to be started, is held or leased.
func (s *Supervisor) Busy() bool {
	if s.leases.Load() > 0 {
		return true
	}
	for _, v := range s.services() {
		if st := v.status(); st.State.Active() || st.Held || st.Pid != 0 || v.leases.Load() > 0 || len(st.Leases) > 0 {
			return true
		}
	}
	return false
}

// leased reports whether somebody holds the service.
func (v *svc) leased() bool {
	return v.leases.Load() > 0 || v.sup.leases.Load() > 0 || len(v.st.Leases) > 0
}

// lend gives a lease that ends with a process.
func (v *svc) lend(ev event) {
	for _, l := range v.st.Leases {
		if l == ev.lease {
			return
		}
	}
	v.st.Leases = append(v.st.Leases[:len(v.st.Leases):len(v.st.Leases)], ev.lease)
	v.outlast(ev.lease)
}

// outlast waits for the end of the process that has a lease.
func (v *svc) outlast(l service.Lease) {
	over := event{kind: evLeaseOver, lease: l}
	var done <-chan struct{}
	var stop func()
	err := persist(func() (err error) {
		done, stop, err = process.Watch(process.ID{Pid: l.Pid, Start: l.Start, Boot: l.Boot})
		return err
	})
	if err != nil {
		if !errors.Is(err, os.ErrProcessDone) {
			v.sup.o.Log.Error("watch the process that has a lease", "service", v.name, "pid", l.Pid, "err", err)
		}
		go v.post(over)
		return
	}
	go func() {
		defer stop()
		select {
		case <-done:
			v.post(over)
		case <-v.quit:
		}
	}()
}

// lapse takes the lease of a process back that has ended.
func (v *svc) lapse(ev event) {
	var left []service.Lease
	for _, l := range v.st.Leases {
		if l != ev.lease {
			left = append(left, l)
		}
	}
	v.st.Leases = left
}
