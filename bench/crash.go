package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// crowd is how many services there are where that is not what is measured.
const crowd = 20

// rest comes after each restart: what it leaves to do, such as hob's notes of it, is not to be in the next one's time.
const rest = 30 * time.Millisecond

// crash measures from the SIGKILL of a service's process to the first act of the next one. Each service
// is killed once, since the second restart waits, and then all are started anew.
func crash(ctx context.Context, p place, o options) (err error) {
	ours, err := newReports(ctx, filepath.Join(p.floor, "hob"))
	if err != nil {
		return err
	}
	defer ours.close()
	theirs, err := newReports(ctx, filepath.Join(p.floor, "loop"))
	if err != nil {
		return err
	}
	defer theirs.close()
	worker := filepath.Join(p.bin, "worker")
	if err := p.write(crowd, "", worker, "stamp", ours.path); err != nil {
		return err
	}
	l, err := p.loop(ctx, crowd, worker, "stamp", theirs.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var floor, hob sample
	for len(hob) < o.runs {
		if err := l.tell("start"); err != nil {
			return err
		}
		if _, err := p.up(ctx, crowd); err != nil {
			return err
		}
		if err := killEach(min(crowd, o.runs-len(hob)), theirs, ours, &floor, &hob); err != nil {
			return err
		}
		if _, err := p.time(ctx, "hob", "down"); err != nil {
			return err
		}
		if err := l.tell("stop"); err != nil {
			return err
		}
		if err := errors.Join(ours.none(), theirs.none()); err != nil {
			return err
		}
	}
	p.header(fmt.Sprintf("crash, %d services", crowd))
	p.line("crash → running  bare Go loop", floor)
	p.compare("crash → running  hob", hob, floor, times(2))
	return nil
}

// killEach kills n workers of each side, in turns.
func killEach(n int, theirs, ours *reports, floor, hob *sample) error {
	f, err := theirs.pids(crowd)
	if err != nil {
		return err
	}
	h, err := ours.pids(crowd)
	if err != nil {
		return err
	}
	for i := range n {
		for _, side := range []struct {
			pid int
			of  *reports
			to  *sample
		}{{f[i], theirs, floor}, {h[i], ours, hob}} {
			d, err := side.of.again(side.pid)
			if err != nil {
				return err
			}
			*side.to = append(*side.to, d)
			time.Sleep(rest)
		}
	}
	return nil
}

// reports is where workers say what they did: a line each.
type reports struct {
	path  string
	f     *os.File
	lines *bufio.Reader
}

// newReports makes the FIFO. Nobody waits for a line once ctx is done.
func newReports(ctx context.Context, path string) (*reports, error) {
	f, err := fifo(path)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { f.Close() })
	return &reports{path: path, f: f, lines: bufio.NewReader(f)}, nil
}

func (r *reports) close() { r.f.Close() }

// next waits for a line: who began something, and perhaps ended it, when on the monotonic clock.
func (r *reports) next() (pid int, began, ended time.Duration, err error) {
	if err := r.f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, 0, 0, err
	}
	line, err := r.lines.ReadString('\n')
	if err != nil {
		return 0, 0, 0, fmt.Errorf("wait for a worker: %w", err)
	}
	if n, err := fmt.Sscan(line, &pid, &began, &ended); n < 2 {
		return 0, 0, 0, fmt.Errorf("read %q of a worker: %w", line, err)
	}
	return pid, began, ended, nil
}

// pids waits for the first reports of n workers.
func (r *reports) pids(n int) ([]int, error) {
	all := make([]int, n)
	for i := range all {
		pid, _, _, err := r.next()
		if err != nil {
			return nil, err
		}
		all[i] = pid
	}
	return all, nil
}

// again kills a worker and waits for the one that takes its place.
func (r *reports) again(pid int) (time.Duration, error) {
	killed := monotonic()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill %d: %w", pid, err)
	}
	_, began, _, err := r.next()
	return began - killed, err
}

// none checks that nobody has been started of whom nobody knew.
func (r *reports) none() error {
	if err := r.f.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	if line, err := r.lines.ReadString('\n'); err == nil {
		return fmt.Errorf("one process more than there should be: %s", line)
	}
	return nil
}

func monotonic() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
