package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const lineSize = 100

// logs measures how fast a service can write lines, and what it costs hobd to keep them. The floor is a pipe to
// cat, which writes one file; so that hob does the same there is no rotation.
func logs(ctx context.Context, p place, o options) error {
	fmt.Printf("\n%-38s %10s %10s %10s   %-12s %s\n", "log, MB/s", "min", "median", "max", "× the floor", "CPU s/GB")
	for _, pattern := range []struct{ lines, megabytes int }{{640, o.megabytes}, {1, max(o.megabytes/4, 1)}} {
		writes := pattern.megabytes * 1e6 / lineSize / pattern.lines
		p, err := newPlace(options{bin: o.bin, work: filepath.Dir(p.project)}, fmt.Sprintf("lines-%d", pattern.lines))
		if err != nil {
			return err
		}
		j, err := newJob(ctx, p, writes, pattern.lines)
		if err != nil {
			return err
		}
		err = j.compare(ctx, o.rounds)
		err = errors.Join(err, j.close(), p.clear(context.WithoutCancel(ctx)))
		if err != nil {
			return err
		}
	}
	return nil
}

// job is so many writes of so many lines.
type job struct {
	p             place
	writes, lines int
	said          *reports
	goAhead       *os.File
}

func newJob(ctx context.Context, p place, writes, lines int) (*job, error) {
	if writes < 1 {
		return nil, errors.New("-megabytes: too few")
	}
	j := &job{p: p, writes: writes, lines: lines}
	var err error
	if j.said, err = newReports(ctx, filepath.Join(p.floor, "said")); err != nil {
		return nil, err
	}
	if j.goAhead, err = fifo(filepath.Join(p.floor, "go")); err != nil {
		j.said.close()
		return nil, err
	}
	return j, p.write(1, `log = { max = "1TB" }`+"\n", append([]string{filepath.Join(p.bin, "worker")}, j.args()...)...)
}

func (j *job) close() error {
	j.said.close()
	return j.goAhead.Close()
}

func (j *job) args() []string {
	return []string{"lines", j.said.path, j.goAhead.Name(), strconv.Itoa(j.writes), strconv.Itoa(j.lines)}
}

func (j *job) size() int64 { return int64(j.writes) * int64(j.lines) * lineSize }

func (j *job) compare(ctx context.Context, rounds int) error {
	var cat, hob speeds
	for range rounds {
		if err := cat.add(j.cat(ctx)); err != nil {
			return fmt.Errorf("cat: %w", err)
		}
		if err := hob.add(j.hob(ctx)); err != nil {
			return err
		}
	}
	pattern := fmt.Sprintf("%d lines a write", j.lines)
	if j.lines == 1 {
		pattern = "one line a write"
	}
	cat.print(pattern+"  cat > file", j.size(), nil)
	hob.print(pattern+"  hob", j.size(), &cat)
	return nil
}

// speeds are the times that writing took, and the processor's time that it took whoever read it.
type speeds struct{ wall, cpu sample }

func (s *speeds) add(wall, cpu time.Duration, err error) error {
	s.wall, s.cpu = append(s.wall, wall), append(s.cpu, cpu)
	return err
}

func (s *speeds) print(name string, size int64, floor *speeds) {
	perSecond := func(d time.Duration) float64 { return float64(size) / 1e6 / d.Seconds() }
	ratio := ""
	if floor != nil {
		ratio = fmt.Sprintf("%.2f", perSecond(s.wall.median())/perSecond(floor.wall.median()))
	}
	fmt.Printf("%-38s %10.0f %10.0f %10.0f   %-12s %.2f\n", name, perSecond(slices.Max(s.wall)), perSecond(s.wall.median()),
		perSecond(slices.Min(s.wall)), ratio, s.cpu.median().Seconds()/float64(size)*1e9)
}

// cat runs it through a pipe.
func (j *job) cat(ctx context.Context) (wall, cpu time.Duration, err error) {
	path := filepath.Join(j.p.floor, "out")
	file, err := os.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(path)
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, err
	}
	cat := exec.CommandContext(ctx, "cat")
	cat.Stdin, cat.Stdout = r, file
	worker := j.p.command(ctx, "worker", j.args()...)
	worker.Stdout, worker.Stderr = w, os.Stderr
	err = errors.Join(cat.Start(), worker.Start())
	r.Close()
	w.Close()
	if err != nil {
		return 0, 0, err
	}
	if wall, err = j.do(); err == nil {
		err = j.wait(ctx, path)
	}
	err = errors.Join(err, worker.Process.Kill())
	_ = worker.Wait() // killed
	err = errors.Join(err, cat.Wait())
	return wall, cat.ProcessState.UserTime() + cat.ProcessState.SystemTime(), err
}

// hob runs it as a service. The log is made anew each time.
func (j *job) hob(ctx context.Context) (wall, cpu time.Duration, err error) {
	if _, err := j.p.up(ctx, 1); err != nil {
		return 0, 0, err
	}
	s, err := j.p.ask(ctx, "daemon", "status")
	if err != nil {
		return 0, 0, err
	}
	dir := filepath.Join(filepath.Dir(s.Daemon.Log), "log", serviceName(0))
	before, err := processorTime(s.Daemon.Pid)
	if err != nil {
		return 0, 0, err
	}
	if wall, err = j.do(); err != nil {
		return 0, 0, err
	}
	if err := j.wait(ctx, filepath.Join(dir, "00000001.log")); err != nil {
		return 0, 0, err
	}
	after, err := processorTime(s.Daemon.Pid)
	if err != nil {
		return 0, 0, err
	}
	if _, err = j.p.time(ctx, "hob", "down"); err == nil {
		err = os.RemoveAll(dir)
	}
	return wall, after - before, err
}

// do lets the worker begin, and returns how long it was at it.
func (j *job) do() (time.Duration, error) {
	if _, err := j.goAhead.Write([]byte{'\n'}); err != nil {
		return 0, err
	}
	_, began, ended, err := j.said.next()
	return ended - began, err
}

// wait returns when all that was written is in the file, and nothing else.
func (j *job) wait(ctx context.Context, path string) error {
	for deadline := time.Now().Add(patience); ; {
		fi, err := os.Stat(path)
		switch {
		case err != nil:
			return err
		case fi.Size() == j.size():
			return nil
		case fi.Size() > j.size() || time.Now().After(deadline):
			return fmt.Errorf("%s: %d bytes, not %d", path, fi.Size(), j.size())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// processorTime is what all threads of a process have used, those that have ended too, to the nanosecond:
// clock_getcpuclockid(3).
func processorTime(pid int) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("processor time of %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
