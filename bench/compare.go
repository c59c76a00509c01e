package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// warm compares whole processes that ask a running daemon for a sign of life. Both ask hobd.
func warm(ctx context.Context, p place, o options) error {
	s, err := p.start(ctx)
	if err != nil {
		return err
	}
	var floor, ours sample
	for range o.runs {
		d, err := p.time(ctx, "client", s.Daemon.Socket, p.project)
		if err != nil {
			return err
		}
		floor = append(floor, d)
		if d, err = p.time(ctx, "hob", "daemon", "ping"); err != nil {
			return err
		}
		ours = append(ours, d)
	}
	p.header("instance")
	p.line("warm  static C client", floor)
	p.compare("warm  hob daemon ping", ours, floor, times(2))
	return p.stopBoth(ctx)
}

// cold compares whole processes that start a daemon and talk to it.
func cold(ctx context.Context, p place, o options) error {
	var floor, ours sample
	for range o.runs {
		d, err := p.time(ctx, "floor", "start", p.floor)
		if err != nil {
			return err
		}
		floor = append(floor, d)
		if d, err = p.time(ctx, "hob", "daemon", "start"); err != nil {
			return err
		}
		ours = append(ours, d)
		if err := p.stopBoth(ctx); err != nil {
			return err
		}
	}
	p.line("cold  C client + C daemon", floor)
	p.compare("cold  hob daemon start", ours, floor, times(2))
	return nil
}

// stampede starts many clients at once against nothing.
func stampede(ctx context.Context, p place, o options) error {
	var floor, ours sample
	for range o.herds {
		d, err := p.herd(ctx, o.herd, floorPid, "floor", "start", p.floor)
		if err != nil {
			return err
		}
		floor = append(floor, d)
		if d, err = p.herd(ctx, o.herd, hobPid, "hob", "daemon", "start", "--json"); err != nil {
			return err
		}
		ours = append(ours, d)
		if err := p.stopBoth(ctx); err != nil {
			return err
		}
	}
	p.line(fmt.Sprintf("%d at once  C clients", o.herd), floor)
	p.compare(fmt.Sprintf("%d at once  hob daemon start", o.herd), ours, floor, times(2))
	p.printf("%d × %d clients of each: 1 daemon, 0 failures\n", o.herds, o.herd)
	return nil
}

func floorPid(line string) (int, error) { return strconv.Atoi(line) }

func hobPid(line string) (int, error) {
	var s status
	err := json.Unmarshal([]byte(line), &s)
	return s.Daemon.Pid, err
}

// herd starts n clients and waits for all. Each writes one line, of which pid finds the
// daemon's: there must be n lines and one pid.
func (p place) herd(ctx context.Context, n int, pid func(line string) (int, error), name string, args ...string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// One file for all, opened to append: no pipe to read while the clock runs.
	out, err := p.scratch("stdout")
	if err != nil {
		return 0, err
	}
	defer out.Close()
	words, err := p.scratch("stderr")
	if err != nil {
		return 0, err
	}
	defer words.Close()
	clients := make([]*exec.Cmd, n)
	var failed error
	began := time.Now()
	for i := range clients {
		clients[i] = p.command(ctx, name, args...)
		clients[i].Stdout, clients[i].Stderr = out, words
		if err := clients[i].Start(); err != nil {
			failed, clients = err, clients[:i]
			break
		}
	}
	failures := 0
	for _, c := range clients {
		if err := c.Wait(); err != nil {
			failures, failed = failures+1, err
		}
	}
	took := time.Since(began)
	if failed != nil {
		text, _ := os.ReadFile(words.Name())
		return 0, fmt.Errorf("%d × %s %q: %d failed, the last: %w\n%s", n, name, args, failures, failed, text)
	}
	return took, onePid(out, n, pid)
}

func (p place) scratch(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(filepath.Dir(p.project), name), os.O_CREATE|os.O_RDWR|os.O_APPEND|os.O_TRUNC, 0o600)
}

// onePid checks that n lines name one daemon.
func onePid(out *os.File, n int, pid func(line string) (int, error)) error {
	if _, err := out.Seek(0, 0); err != nil {
		return err
	}
	pids, lines := map[int]int{}, 0
	for scan := bufio.NewScanner(out); scan.Scan(); lines++ {
		id, err := pid(scan.Text())
		if err != nil {
			return fmt.Errorf("read %q: %w", scan.Text(), err)
		}
		pids[id]++
	}
	if len(pids) != 1 || lines != n {
		return fmt.Errorf("%d clients, %d answers, daemons: %v", n, lines, pids)
	}
	return nil
}

// inProcess runs the benchmarks of the public package, a round of all of them at a time.
func inProcess(ctx context.Context, p place, o options) error {
	found := map[string]sample{}
	for range o.rounds {
		out, err := p.command(ctx, "bench.test", "-test.run=^$", "-test.bench=.", "-test.benchtime=200ms").Output()
		if err != nil {
			return fmt.Errorf("bench.test: %w: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if name, d, ok := result(line); ok {
				found[name] = append(found[name], d)
			}
		}
	}
	for _, pair := range []struct {
		floor, ours string
		most        float64
	}{{"RawDial", "Dial", 3}, {"RawCall", "Call", 5}} {
		floor, ours := found[pair.floor], found[pair.ours]
		if len(floor) != o.rounds || len(ours) != o.rounds {
			return errors.New("bench.test: a benchmark gave no result")
		}
		p.line("in process  "+pair.floor+" (Go net)", floor)
		p.compare("in process  "+pair.ours, ours, floor, times(pair.most))
	}
	return nil
}

// result reads a line such as "BenchmarkDial-2   1234   56789 ns/op".
func result(line string) (name string, d time.Duration, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 || f[3] != "ns/op" {
		return "", 0, false
	}
	ns, err := strconv.ParseFloat(f[2], 64)
	name, _, _ = strings.Cut(strings.TrimPrefix(f[0], "Benchmark"), "-")
	return name, time.Duration(ns), err == nil
}
