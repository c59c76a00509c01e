package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// logger is who keeps what a service writes.
type logger struct {
	name string
	run  func(*job, context.Context) (wall, cpu time.Duration, err error)
}

// loggers are those of the rigs that have one that is a program of its own; the others' loggers are their daemons.
var loggers = map[string]logger{"hob": {"hob", (*job).hob}, "runit": {"svlogd", (*job).svlogd}, "s6": {"s6-log", (*job).s6}}

// logAll: how fast a service can write lines, and the processor's time that it takes whoever keeps them.
func logAll(ctx context.Context, o options, rigs []*rig) error {
	o.printf(speedFormat, "log, MB/s", "min", "median", "max", "× hob", "CPU s/GB", "")
	return eachJob(ctx, o, filepath.Dir(rigs[0].dir), func(j *job) error {
		j.p.env = append(j.p.env, rigMark+"="+rigs[0].dir)
		found := map[*rig]*speeds{}
		for range o.rounds {
			for _, r := range rigs {
				l, ok := loggers[r.name]
				if !ok {
					continue
				}
				if found[r] == nil {
					found[r] = &speeds{}
				}
				if err := found[r].add(l.run(j, ctx)); err != nil {
					return fmt.Errorf("%s: %w", l.name, err)
				}
			}
		}
		ours := found[rigs[0]].wall.median()
		for _, r := range rigs {
			if s := found[r]; s != nil {
				j.row(j.pattern()+"  "+loggers[r.name].name, s, ratio(s.wall.median(), ours), "")
			}
		}
		return nil
	})
}

// svlogd runs the job through a pipe to one, which is told not to rotate.
func (j *job) svlogd(ctx context.Context) (wall, cpu time.Duration, err error) {
	dir := filepath.Join(j.p.floor, "svlogd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte("s0\n"), 0o600); err != nil {
		return 0, 0, err
	}
	return j.pipe(ctx, exec.CommandContext(ctx, "svlogd", dir), dir, "current")
}
