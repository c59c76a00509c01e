package client

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
)

// query says which lines to show.
type query struct {
	lines int // the last so many of those that the rest selects; -1: all
	since time.Time
	grep  *regexp.Regexp // nil: all
}

// logView shows the logs of some services as one.
type logView struct {
	query
	inst    instance.Instance
	all     bool // of every service, also of those that come
	sources []*source
	printer *printer
}

// source is the log of one service.
type source struct {
	name   string
	r      *servicelog.Reader // nil while there is no log
	end    servicelog.Position
	head   servicelog.Line // the next line
	ready  bool            // head is there
	done   bool            // the end was reached
	inside bool            // the last line was a part, and the rest of it comes next
	grep   grep
}

// openLogs opens the logs of the services; no names means every one that has a log.
func (a *app) openLogs(names []string, q query) (*logView, error) {
	inst, disk, err := a.disk()
	if err != nil {
		return nil, err
	}
	logged, err := loggedServices(inst)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.Contains(logged, name) && !knowsService(disk, name) {
			return nil, noSuchService(name)
		}
	}
	v := &logView{query: q, inst: inst, all: len(names) == 0}
	if v.all {
		names = logged
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	v.printer = a.newPrinter(names)
	v.printer.prefix = v.all || len(names) > 1
	for _, name := range names {
		s := v.source(name)
		if err := s.open(inst, q); err != nil {
			v.close()
			return nil, err
		}
		v.sources = append(v.sources, s)
	}
	return v, nil
}

// loggedServices lists the services that have a log, with or without a state.
func loggedServices(inst instance.Instance) ([]string, error) {
	state, err := inst.OpenState(false)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	defer state.Close()
	dir, err := inst.OpenDir(state, false)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	defer dir.Close()
	logs, err := instance.OpenSub(dir, instance.LogsName, false)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	defer logs.Close()
	names, err := instance.Names(logs)
	return slices.DeleteFunc(names, func(name string) bool { return service.CheckName(name) != nil }), err
}

func ignoreAbsent(err error) error {
	if absent(err) {
		return nil
	}
	return err
}

// source is for a log that is not open yet.
func (v *logView) source(name string) *source {
	return &source{name: name, grep: grep{re: v.grep}}
}

func (v *logView) close() {
	for _, s := range v.sources {
		if s.r != nil {
			_ = s.r.Close()
		}
	}
}

// open goes to the first line that q may want. A service without a log yet has no lines.
func (s *source) open(inst instance.Instance, q query) error {
	r, err := servicelog.NewReader(inst.Path(instance.LogsName, s.name))
	if err != nil {
		return ignoreAbsent(err)
	}
	s.r = r
	switch {
	case !q.since.IsZero():
		err = r.Since(q.since)
	case q.lines >= 0 && q.grep == nil:
		err = r.Tail(q.lines)
	}
	if err != nil {
		return err
	}
	// Where the log ends now: a service that writes faster than anybody reads has no end.
	s.end, err = endOf(inst, s.name)
	return err
}

func endOf(inst instance.Instance, name string) (servicelog.Position, error) {
	r, err := servicelog.NewReader(inst.Path(instance.LogsName, name))
	if err != nil {
		return servicelog.Position{}, ignoreAbsent(err)
	}
	defer r.Close()
	err = r.Tail(0)
	return r.Position(), err
}

// peek makes head the next line up to the end; false when there is none. What stands there
// without a newline is a line, too, if rest is set.
func (s *source) peek(rest bool) (bool, error) {
	if s.ready || s.done || s.r == nil {
		return s.ready, nil
	}
	if !s.r.Position().Before(s.end) {
		s.done = true
		return false, nil
	}
	line, err := s.r.Next()
	switch {
	case err == nil:
		s.head, s.ready = line, true
	case !errors.Is(err, io.EOF):
		return false, err
	default:
		s.done = true
		if rest {
			s.head, s.ready = s.r.Rest()
		}
	}
	return s.ready, nil
}

// next is the source whose next line is the oldest; nil when there is no line any more. The parts
// of a line stay together.
func (v *logView) next(rest bool) (*source, error) {
	var oldest *source
	for _, s := range v.sources {
		ok, err := s.peek(rest)
		if err != nil {
			return nil, err
		}
		if ok && s.inside {
			return s, nil
		}
		if ok && (oldest == nil || s.head.Time.Before(oldest.head.Time)) {
			oldest = s
		}
	}
	return oldest, nil
}

// kept is a line that may be among the last ones, or a part of one: parts have the number of
// their line in common.
type kept struct {
	name   string
	line   servicelog.Line
	number int
}

// ending is the last n lines, with all their parts.
type ending struct {
	n     int
	parts []kept
	lines int // how many parts is
}

func (e *ending) add(k kept) {
	if len(e.parts) == 0 || e.parts[len(e.parts)-1].number != k.number {
		e.lines++
	}
	k.line.Text = slices.Clone(k.line.Text)
	e.parts = append(e.parts, k)
	if e.lines > e.n {
		first := e.parts[0].number
		for e.parts[0].number == first {
			e.parts = e.parts[1:]
		}
		e.lines--
	}
}

// showPast prints what there is now.
func (v *logView) showPast() error {
	last := ending{n: v.lines}
	number := 0
	for {
		s, err := v.next(true)
		if err != nil {
			return err
		}
		if s == nil {
			break
		}
		line := s.head
		if !s.inside {
			number++
		}
		s.ready, s.inside = false, line.Partial
		line, ok := s.grep.add(line)
		switch {
		case !ok:
		case v.lines < 0:
			if err := v.printer.print(s.name, line); err != nil {
				return err
			}
		case v.lines > 0:
			last.add(kept{s.name, line, number})
		}
	}
	for _, k := range last.parts {
		if err := v.printer.print(k.name, k.line); err != nil {
			return err
		}
	}
	return v.printer.flush()
}

// newServices is how often a view of every service looks for new ones, and how often a log that
// is not there is looked for.
const newServices = 300 * time.Millisecond

// follow goes on with every log until ctx ends, or writing fails.
func (v *logView) follow(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var failed error // the first one; read when none runs any more
	var once sync.Once
	var running sync.WaitGroup
	begin := func(s *source) {
		running.Go(func() {
			if err := v.followOne(ctx, s); err != nil && ctx.Err() == nil {
				once.Do(func() { failed = err })
				end()
			}
		})
	}
	for _, s := range v.sources {
		begin(s)
	}
	for v.all && pause(ctx, newServices) {
		names, err := loggedServices(v.inst)
		if err != nil {
			continue // the state directory may be made anew
		}
		for _, name := range names {
			if !slices.ContainsFunc(v.sources, func(s *source) bool { return s.name == name }) {
				s := v.source(name)
				v.sources = append(v.sources, s)
				v.printer.add(name)
				begin(s)
			}
		}
	}
	running.Wait()
	if failed != nil {
		return failed
	}
	return ctx.Err()
}

// followOne prints what comes in one log. A log that is removed may come again.
func (v *logView) followOne(ctx context.Context, s *source) error {
	for {
		if s.r == nil {
			r, err := servicelog.NewReader(v.inst.Path(instance.LogsName, s.name))
			if err != nil {
				if !absent(err) {
					return err
				}
				if !pause(ctx, newServices) {
					return ctx.Err()
				}
				continue
			}
			s.r = r
		}
		err := v.printer.follow(ctx, s.name, s.r, &s.grep)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = s.r.Close()
		s.r, s.grep = nil, grep{re: v.grep}
	}
}

// pause waits for d; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tail gives the last n lines of a log between two places, as far as they are harmless. Without a second one it is where the log
// ends now: who writes faster than anybody reads has no end.
func tail(dir string, from api.LogMark, to *api.LogMark, n int) ([]string, error) {
	r, err := servicelog.NewReader(dir)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	defer r.Close()
	if to == nil {
		err = r.Tail(0)
		r.Until(r.Position())
	} else {
		r.Until(servicelog.Position(*to))
	}
	if err := errors.Join(err, r.Tail(n)); err != nil {
		return nil, err
	}
	if mark := servicelog.Position(from); r.Position().Before(mark) {
		r.Seek(mark)
	}
	var lines []string
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			if line, ok := r.Rest(); ok {
				lines = append(lines, harmless(string(line.Text)))
			}
			return lines[max(0, len(lines)-n):], nil
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, harmless(string(line.Text)))
	}
}
