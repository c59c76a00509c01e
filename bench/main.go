// Command bench measures hob against floors: programs in C and in bare Go that do the least that
// the same job can be done with. It runs both sides in turns and reports ratios, since only those
// mean something on another machine. scripts/bench.sh builds what it needs. With -peers the other side is
// tools that do a part of hob's job, those of them that are installed.
//
// It asserts nothing about time. It exits with 1 when a command fails, or when what was measured did not
// happen: clients that start at once and do not end up with exactly one daemon, a service that does not
// run, one that outlives its stop or is started twice, a log that lacks a byte.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// measures are all there are, in the order in which they run. Each runs in a project of its own.
var measures = []struct {
	name string
	run  func(context.Context, place, options) error
}{
	{"warm", warm}, {"cold", cold}, {"herd", stampede}, {"process", inProcess},
	{"crash", crash}, {"many", many}, {"adoption", adoption}, {"mend", mend}, {"log", logs}, {"idle", idle},
	{"connect", connect}, {"activation", activation}, {"upgrade", upgrades},
}

type options struct {
	*report
	bin, work                 string
	runs, herd, herds, rounds int
	services, megabytes       int
	idle                      time.Duration
	rush                      int
	limit                     time.Duration
	peers                     bool
	only, write               string
}

// hasty is what -short sets, where it is not set by hand: enough to see that all of it still works.
var hasty = map[string]string{"runs": "5", "rush": "10", "limit": "4s", "herd": "50", "herds": "1", "rounds": "1", "services": "20", "megabytes": "16", "idle": "1s"}

func main() {
	if len(os.Args) > 1 && (os.Args[1] == echoVerb || os.Args[1] == greetVerb) {
		fmt.Fprintln(os.Stderr, "bench:", serveAs(os.Args[1], os.Args[2:]))
		os.Exit(1)
	}
	o := options{report: newReport()}
	flag.StringVar(&o.bin, "bin", "", "the `directory` with hob, hobd, bench.test and the floors")
	flag.StringVar(&o.work, "work", "", "an empty `directory` for projects and state")
	flag.IntVar(&o.runs, "runs", 41, "measure each command, and each crash, `N` times")
	flag.IntVar(&o.herd, "herd", 500, "start `N` clients at once")
	flag.IntVar(&o.herds, "herds", 5, "that many `times`")
	flag.IntVar(&o.rounds, "rounds", 7, "run what takes long `N` times: benchmarks in one process, many services, logs")
	flag.IntVar(&o.services, "services", 100, "start, stop and adopt `N` services")
	flag.IntVar(&o.megabytes, "megabytes", 500, "log `N` MB in large writes, and a quarter in small ones")
	flag.DurationVar(&o.idle, "idle", 30*time.Second, "watch idle processes for so `long`")
	flag.StringVar(&o.only, "only", "", "a `list` of what to measure, with commas: "+strings.Join(names(), ","))
	flag.StringVar(&o.write, "write", "", "keep what is printed in this `document`, where all was measured")
	flag.IntVar(&o.rush, "rush", 50, "with -peers: start `N` clients at once")
	flag.DurationVar(&o.limit, "limit", 20*time.Second, "with -peers: end a client of many that takes so `long`: some hang")
	flag.BoolVar(&o.peers, "peers", false, "compare with those peers that are installed, and not with floors: "+strings.Join(jobNames(), ","))
	short := flag.Bool("short", false, "little of everything; it shows that it works, not how fast")
	flag.Parse()
	if *short {
		hurry()
	}
	began := load()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	all, name := run, "bench"
	if o.peers {
		all, name = meetPeers, "peers"
	}
	err := all(ctx, o)
	if err == nil && o.write != "" && o.only == "" && !*short {
		err = keep(o.write, name, machine(began), o.report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for _, m := range measures {
		all = append(all, m.name)
	}
	return all
}

// hurry sets the flags of -short that were not set by hand.
func hurry() {
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	for name, value := range hasty {
		if !set[name] {
			_ = flag.Set(name, value)
		}
	}
}

// run measures what was asked for, one comparison after the other.
func run(ctx context.Context, o options) error {
	if err := o.check(names()); err != nil {
		return err
	}
	// For what is measured in this process.
	if err := os.Setenv("HOB_STATE_DIR", filepath.Join(o.work, "state")); err != nil {
		return err
	}
	for _, m := range measures {
		if !o.wants(m.name) {
			continue
		}
		p, err := newPlace(o, m.name)
		if err != nil {
			return err
		}
		err = m.run(ctx, p, o)
		// Whatever has happened, both daemons are asked to leave.
		err = errors.Join(err, p.clear(context.WithoutCancel(ctx)))
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	o.end()
	return nil
}

// check is for flags that make no sense; all are the names of what can be measured.
func (o options) check(all []string) error {
	if o.bin == "" || o.work == "" || min(o.runs, o.rush, o.herd, o.herds, o.rounds, o.services, o.megabytes) < 1 || min(o.idle, o.limit) <= 0 {
		return errors.New("usage: bench -bin DIR -work DIR; see scripts/bench.sh")
	}
	for _, name := range strings.FieldsFunc(o.only, isComma) {
		if !slices.Contains(all, name) {
			return fmt.Errorf("-only %s: not one of %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

// wants says whether something is to be measured.
func (o options) wants(name string) bool {
	return o.only == "" || slices.Contains(strings.FieldsFunc(o.only, isComma), name)
}

func isComma(r rune) bool { return r == ',' }
