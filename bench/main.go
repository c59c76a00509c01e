// Command bench measures hob against floors: programs in C and in bare Go that do the least that
// the same job can be done with. It runs both sides in turns and reports ratios, since only those
// mean something on another machine. scripts/bench.sh builds what it needs.
//
// It asserts nothing about time. It exits with 1 when a command fails, or when clients that
// start at once do not end up with exactly one daemon.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "", "the `directory` with hob, hobd, client, floor and bench.test")
	flag.StringVar(&o.work, "work", "", "an empty `directory` for projects and state")
	flag.IntVar(&o.runs, "runs", 41, "measure each command `N` times")
	flag.IntVar(&o.herd, "herd", 500, "start `N` clients at once")
	flag.IntVar(&o.herds, "herds", 5, "that many `times`")
	flag.IntVar(&o.rounds, "rounds", 7, "run each benchmark in one process `N` times")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, work                 string
	runs, herd, herds, rounds int
}

// run measures everything, one comparison after the other.
func run(ctx context.Context, o options) (err error) {
	if o.bin == "" || o.work == "" || o.runs < 1 || o.herd < 1 || o.herds < 1 || o.rounds < 1 {
		return errors.New("usage: bench -bin DIR -work DIR; see scripts/bench.sh")
	}
	p := place{bin: o.bin, project: filepath.Join(o.work, "project"), floor: filepath.Join(o.work, "floor")}
	for _, dir := range []string{p.project, p.floor} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	p.env = append(os.Environ(), "HOB_STATE_DIR="+filepath.Join(o.work, "state"), "HOB_DAEMON="+filepath.Join(o.bin, "hobd"))
	// Whatever happens, both daemons are asked to leave.
	defer func() { err = errors.Join(err, p.stopBoth(context.WithoutCancel(ctx))) }()
	fmt.Printf("%-34s %10s %10s %10s   %s\n", "", "min", "median", "max", "ratio of medians")
	for _, measure := range []func(context.Context, place, options) error{warm, cold, stampede, inProcess} {
		if err := measure(ctx, p, o); err != nil {
			return err
		}
	}
	return nil
}
