package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// jobs are what hob and its peers are compared at. Each runs among rigs of its own.
var jobs = []struct {
	name string
	run  func(context.Context, options, []*rig) error
}{{"ask", askAll}, {"first", firstAll}, {"rush", rushAll}, {"again", againAll}, {"log", logAll}}

func jobNames() []string {
	var all []string
	for _, j := range jobs {
		all = append(all, j.name)
	}
	return all
}

// meetPeers runs every job, one round of all rigs after the other.
func meetPeers(ctx context.Context, o options) error {
	if err := o.check(jobNames()); err != nil {
		return err
	}
	present := []peer{{name: "hob", rig: hobItself}}
	for _, p := range peers {
		if why := p.absent(); why != "" {
			o.printf("%s is not measured: %s\n", p.name, why)
			continue
		}
		present = append(present, p)
		o.printf("%s\n", p.label())
	}
	for _, j := range jobs {
		if !o.wants(j.name) {
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
		if ctx.Err() != nil { // what was interrupted is no result, and its errors are that
			err = ctx.Err()
		}
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
