package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// jobs are what hob and its peers are compared at. Each runs among rigs of its own.
var jobs = []struct {
	name string
	run  func(context.Context, options, []*rig) error
}{{"ask", askAll}, {"first", firstAll}, {"rush", rushAll}, {"again", againAll}}

// meetPeers runs every job, one round of all rigs after the other.
func meetPeers(ctx context.Context, o options) error {
	present := []peer{{name: "hob", rig: hobItself}}
	for _, p := range peers {
		if program := p.missing(); program != "" {
			o.printf("%s is not measured: there is no %s (%s)\n", p.name, program, p.get)
			continue
		}
		present = append(present, p)
		o.printf("%s\n", p.label())
	}
	for _, j := range jobs {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+j.name+",") {
			continue
		}
		var rigs []*rig
		for _, p := range present {
			r, err := p.newRig(filepath.Join(o.work, j.name, p.name), o.bin)
			if err != nil {
				return err
			}
			rigs = append(rigs, r)
		}
		err := j.run(ctx, o, rigs)
		for _, r := range rigs {
			err = errors.Join(err, r.end(context.WithoutCancel(ctx)))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
	}
	return nil
}

// label is the name with the version, where it says one.
func (p peer) label() string {
	if p.version == nil { // it says none
		return p.name
	}
	out, err := exec.Command(p.version[0], p.version[1:]...).Output()
	if err != nil {
		return p.name
	}
	return p.name + " " + strings.TrimPrefix(strings.TrimSpace(string(out)), p.name+" ")
}

// table prints the lines of a job; the first is hob's, with which all are compared: a ratio above 1 says how many times longer that peer takes.
func (o options) table(title string, rigs []*rig, took map[*rig]sample, more map[*rig]string) {
	o.printf("\n%-40s %9s %9s %9s  %7s\n", title, "min", "median", "max", "× hob")
	for _, r := range rigs {
		if s := took[r]; len(s) > 0 {
			o.row(r.name, s, ratio(s.median(), took[rigs[0]].median()), more[r])
		}
	}
}

// askAll: a whole client process that asks a daemon which is there.
func askAll(ctx context.Context, o options, rigs []*rig) error {
	took := map[*rig]sample{}
	for _, r := range rigs {
		if err := r.fill(func(int) []string { return []string{filepath.Join(r.bin, "worker"), "stamp", "/dev/null"} }); err != nil {
			return err
		}
		if err := errors.Join(r.start(ctx), r.answers(ctx)); err != nil {
			return err
		}
	}
	for range o.runs {
		for _, r := range rigs {
			d, err := r.time(ctx, r.ask)
			if err != nil {
				return err
			}
			took[r] = append(took[r], d)
		}
	}
	o.table("a question to a daemon that is there", rigs, took, nil)
	return nil
}

// fill writes down what the daemon is to keep, where it keeps services.
func (r *rig) fill(argv func(i int) []string) error {
	if r.write == nil {
		return nil
	}
	return r.write(r, argv)
}

// firstAll: from nothing there to the first answer.
func firstAll(ctx context.Context, o options, rigs []*rig) error {
	took := map[*rig]sample{}
	for range o.rounds {
		for _, r := range rigs {
			if r.cold == nil && r.daemon != "supervisord" {
				continue // it is the machine's, and nobody starts it to ask something
			}
			began := time.Now()
			if err := r.start(ctx); err != nil {
				return err
			}
			took[r] = append(took[r], time.Since(began))
			if err := r.end(ctx); err != nil {
				return err
			}
		}
	}
	o.table("nothing there → the first answer", rigs, took, nil)
	return nil
}

// rushAll: many clients at once with nothing there.
func rushAll(ctx context.Context, o options, rigs []*rig) error {
	took, more := map[*rig]sample{}, map[*rig]string{}
	for _, r := range rigs {
		if r.cold == nil {
			continue
		}
		most, failed := 0, 0
		for range o.herds {
			d, bad := r.rush(ctx, o.rush)
			took[r] = append(took[r], d)
			most, failed = max(most, len(r.daemons())), failed+bad
			if err := r.end(ctx); err != nil {
				return err
			}
		}
		more[r] = fmt.Sprintf("at most %d daemon(s), %d of %d clients failed", most, failed, o.herds*o.rush)
	}
	o.table(fmt.Sprintf("%d clients at once, nothing there", o.rush), rigs, took, more)
	return nil
}

// rushPatience is how long a client of many may take until it counts as one that has failed: some hang.
const rushPatience = 20 * time.Second

// rush starts n clients and waits for all.
func (r *rig) rush(ctx context.Context, n int) (took time.Duration, failed int) {
	ctx, cancel := context.WithTimeout(ctx, rushPatience)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for range n {
		all.Go(func() {
			if _, err := r.time(ctx, r.cold); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed++
			}
		})
	}
	all.Wait()
	return time.Since(began), failed
}

// ripe is how long services run before one is killed: runit and s6 start what has not run for a second only after that.
const ripe = 1500 * time.Millisecond

// againAll: from the SIGKILL of one of 20 services to the first act of the next process, and what the daemons hold afterwards.
func againAll(ctx context.Context, o options, rigs []*rig) error {
	took, more := map[*rig]sample{}, map[*rig]string{}
	said := map[*rig]*reports{}
	pids := map[*rig][]int{}
	for _, r := range rigs {
		if r.write == nil {
			continue
		}
		s, err := newReports(ctx, r.path("said"))
		if err != nil {
			return err
		}
		defer s.close()
		if err := r.fill(func(int) []string { return []string{filepath.Join(r.bin, "worker"), "stamp", s.path} }); err != nil {
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
		if pids[r], err = s.pids(crowd); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		said[r] = s
	}
	pause(ctx, ripe)
	for i := range min(crowd, o.runs) {
		for _, r := range rigs {
			if said[r] == nil {
				continue
			}
			d, err := said[r].again(pids[r][i])
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			took[r] = append(took[r], d)
			pause(ctx, rest)
		}
	}
	for r := range said {
		n, err := r.pss()
		if err != nil {
			return err
		}
		more[r] = fmt.Sprintf("%.1f MB in %d process(es)", float64(n)/1e6, len(r.daemons()))
	}
	o.table(fmt.Sprintf("crash → running, %d services; PSS", crowd), rigs, took, more)
	return nil
}
