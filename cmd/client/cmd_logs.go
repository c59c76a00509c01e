package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
)

// logFlags are those of logs.
type logFlags struct {
	follow, times bool
	lines         int // -1: all
	since         string
	grep          string
}

// defaultLines is how many are shown when nothing says how many.
const defaultLines = 100

func (a *app) cmdLogs() *cobra.Command {
	var o logFlags
	c := a.verb("logs [-f] [-n N] [--since TIME] [-g RE] [-t] [NAME…]", "Show what services wrote; all of them when none is named", nil)
	c.Example = `  hob logs web
  hob logs -f
  hob logs --since 5m -g 'error|panic' web db
  hob logs -n 1000 -t web`
	f := c.Flags()
	f.SortFlags = false
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what they write, until Ctrl-C")
	f.IntVarP(&o.lines, "lines", "n", defaultLines, "the last `N` lines; without -n, --since or -g the last 100")
	f.StringVar(&o.since, "since", "", "lines of the last 5m, or since 2026-01-31T15:04:05Z (`time`)")
	f.StringVarP(&o.grep, "grep", "g", "", "only lines that match the regular expression `RE`")
	f.BoolVarP(&o.times, "times", "t", false, "the time in front of each line")
	c.RunE = a.verb("", "", func(ctx context.Context, names []string) error {
		if (o.since != "" || o.grep != "") && !c.Flags().Changed("lines") {
			o.lines = -1
		} else if o.lines < 0 {
			return usage("", "logs -n %d: not a number of lines", o.lines)
		}
		return a.logs(ctx, names, o)
	}).RunE
	c.ValidArgsFunction = a.serviceNames
	return c
}

func (a *app) logs(ctx context.Context, names []string, o logFlags) error {
	q := query{lines: o.lines}
	var err error
	if q.since, err = sinceTime(o.since, time.Now()); err != nil {
		return err
	}
	if o.grep != "" {
		if q.grep, err = regexp.Compile(o.grep); err != nil {
			return usage("", "logs: %v", err)
		}
	}
	v, err := a.openLogs(names, q)
	if err != nil {
		return err
	}
	defer v.close()
	v.printer.times = o.times
	if !o.follow {
		if len(v.sources) == 0 {
			a.say("no logs")
		}
		return errors.Join(v.showPast(), v.printer.close())
	}
	// What is there already belongs to the view: Ctrl-C ends it there, too.
	err = a.watching(ctx, func(ctx context.Context) error {
		if err := v.showPast(); err != nil {
			return err
		}
		return v.follow(ctx)
	})
	return errors.Join(err, v.printer.close())
}

// watching runs a view that goes on until somebody ends it, which is no error: with Ctrl-C, or by
// closing the other end of stdout.
func (a *app) watching(ctx context.Context, view func(context.Context) error) error {
	watch, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	watch, hangUp := context.WithCancel(watch)
	defer hangUp()
	hungUp(a.stdout, hangUp)
	err := view(watch)
	switch {
	case ctx.Err() != nil:
		return &hob.Error{Code: api.CodeTimeout, Message: fmt.Sprintf("stopped looking after %v", a.timeout), Err: ctx.Err()}
	case watch.Err() != nil && errors.Is(err, watch.Err()):
		return nil
	}
	return err
}

// sinceTime reads "5m" or a time; "" is the zero time.
func sinceTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Time{}, usage("5m, 1h30m or 2026-01-31T15:04:05Z", "logs --since %s: not a duration or a time", s)
}

// knowsService reports whether the disk has a service of that name.
func knowsService(disk []service.Status, name string) bool {
	_, err := pick(disk, []string{name})
	return err == nil
}
