package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// calm is longer than any timer that a start leaves behind.
const calm = 11 * time.Second

// idle looks at processes that have nothing to do: what they hold, how often they wake up, what that costs.
func idle(ctx context.Context, p place, o options) (err error) {
	if err := p.write(crowd, "", "sleep", "1000"); err != nil {
		return err
	}
	l, err := p.loop(ctx, crowd, "/bin/sleep", "1000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.tell("start"); err != nil {
		return err
	}
	if _, err := p.up(ctx, crowd); err != nil {
		return err
	}
	s, err := p.ask(ctx, "daemon", "status")
	if err != nil {
		return err
	}
	all := []*idler{{name: "bare Go loop", pid: l.cmd.Process.Pid}, {name: "hobd", pid: s.Daemon.Pid}}
	if pid := sentryOf(s.Daemon.Pid); pid != 0 {
		all = append(all, &idler{name: "hobd sentry", pid: pid})
	}
	if err := watch(ctx, all, o.idle); err != nil {
		return err
	}
	p.printf("\n%-40s %9s %9s %9s %9s  %s\n", fmt.Sprintf("idle, %d services, %v", crowd, o.idle), "RSS MB", "PSS MB", "wake-ups", "CPU", "aim")
	for _, i := range all {
		verdict := ""
		if i.name == "hobd" {
			verdict = strings.Join([]string{p.judge("RSS of an idle hobd", "≤ 12 MB", float64(i.rss), 12e6),
				p.judge("wake-ups of an idle hobd", "0", float64(i.wakes), 0), p.judge("CPU of an idle hobd", "0s", i.cpu.Seconds(), 0)}, ", ")
		}
		p.printf("%-40s %9.1f %9.1f %9d %9v  %s\n", i.name, float64(i.rss)/1e6, float64(i.pss)/1e6, i.wakes, round(i.cpu), verdict)
	}
	return nil
}

// idler is a process and what it came to.
type idler struct {
	name     string
	pid      int
	rss, pss int64
	wakes    int64
	cpu      time.Duration
}

// watch fills them in, after a while for the rest of the start to pass.
func watch(ctx context.Context, all []*idler, d time.Duration) error {
	if d > time.Second { // with -short it does not matter
		pause(ctx, calm)
	}
	for _, i := range all {
		wakes, cpu, err := i.look()
		if err != nil {
			return err
		}
		i.wakes, i.cpu = -wakes, -cpu
	}
	pause(ctx, d)
	for _, i := range all {
		wakes, cpu, err := i.look()
		if err != nil {
			return err
		}
		i.wakes, i.cpu = i.wakes+wakes, i.cpu+cpu
		if i.rss, err = field(i.pid, "status", "VmRSS:"); err != nil {
			return err
		}
		if i.pss, err = field(i.pid, "smaps_rollup", "Pss:"); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// look counts how often all threads have gone to sleep of their own accord, that is, have been awake before.
func (i *idler) look() (wakes int64, cpu time.Duration, err error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", i.pid))
	if err != nil {
		return 0, 0, err
	}
	for _, t := range threads {
		n, err := field(i.pid, filepath.Join("task", t.Name(), "status"), "voluntary_ctxt_switches:")
		if err != nil {
			return 0, 0, err
		}
		wakes += n
	}
	cpu, err = processorTime(i.pid)
	return wakes, cpu, err
}

// field reads a number from a file of /proc/PID, in bytes where it is in kB there.
func field(pid int, file, name string) (int64, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		value, ok := strings.CutPrefix(line, name)
		if !ok {
			continue
		}
		value, kilo := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if kilo {
			n *= 1024
		}
		return n, err
	}
	return 0, fmt.Errorf("%s: no line %s", path, name)
}

// sentryOf finds hobd's own child; 0: there is none.
func sentryOf(hobd int) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", hobd))
	for _, list := range lists {
		pids, _ := os.ReadFile(list)
		for _, pid := range strings.Fields(string(pids)) {
			args, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			if a := strings.Split(string(args), "\x00"); len(a) > 1 && a[1] == "sentry" {
				n, _ := strconv.Atoi(pid)
				return n
			}
		}
	}
	return 0
}
