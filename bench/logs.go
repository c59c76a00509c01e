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
// cat, which writes one file; so that hob does the same there is no rotation. Beside them, for its processor time: s6-log, where it is installed.
func logs(ctx context.Context, p place, o options) error {
	p.printf(speedFormat, "log, MB/s", "min", "median", "max", "ratio", "CPU s/GB", "aim")
	return eachJob(ctx, o, filepath.Dir(p.project), func(j *job) error { return j.compare(ctx, o.rounds) })
}

const speedFormat = "\n%-40s %9s %9s %9s  %7s  %9s  %s\n"

// eachJob has do measure large writes and then small ones, each in a project of its own below a directory.
func eachJob(ctx context.Context, o options, dir string, do func(*job) error) error {
	for _, pattern := range []struct{ lines, megabytes int }{{640, o.megabytes}, {1, max(o.megabytes/4, 1)}} {
		writes := pattern.megabytes * 1e6 / lineSize / pattern.lines
		p, err := newPlace(options{report: o.report, bin: o.bin, work: dir}, fmt.Sprintf("lines-%d", pattern.lines))
		if err != nil {
			return err
		}
		j, err := newJob(ctx, p, writes, pattern.lines)
		if err != nil {
			return err
		}
		err = errors.Join(do(j), j.close(), p.clear(context.WithoutCancel(ctx)))
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
	var cat, hob, s6 speeds
	_, absent := exec.LookPath("s6-log")
	for range rounds {
		if err := cat.add(j.cat(ctx)); err != nil {
			return fmt.Errorf("cat: %w", err)
		}
		if err := hob.add(j.hob(ctx)); err != nil {
			return err
		}
		if absent != nil {
			continue
		}
		if err := s6.add(j.s6(ctx)); err != nil {
			return fmt.Errorf("s6-log: %w", err)
		}
	}
	pattern := j.pattern()
	j.print(pattern+"  cat > file", &cat, &cat, "")
	// A throughput that is to be as high as another is a time that is to be as short.
	verdict := j.p.judge(pattern+", throughput", "≥ 1", hob.wall.median().Seconds(), cat.wall.median().Seconds())
	if absent == nil {
		verdict += ", " + j.p.judge(pattern+", CPU", "CPU ≤ s6-log's", hob.cpu.median().Seconds(), s6.cpu.median().Seconds())
	}
	j.print(pattern+"  hob", &hob, &cat, verdict)
	if absent == nil {
		j.print(pattern+"  s6-log", &s6, &cat, "")
	}
	return nil
}

// speeds are the times that writing took, and the processor's time that it took whoever read it.
type speeds struct{ wall, cpu sample }

func (s *speeds) add(wall, cpu time.Duration, err error) error {
	s.wall, s.cpu = append(s.wall, wall), append(s.cpu, cpu)
	return err
}

// pattern says how the lines are written.
func (j *job) pattern() string {
	if j.lines == 1 {
		return "one line a write"
	}
	return fmt.Sprintf("%d lines a write", j.lines)
}

func (j *job) print(name string, s, floor *speeds, verdict string) {
	times := ""
	if s != floor {
		times = ratio(floor.wall.median(), s.wall.median())
	}
	j.row(name, s, times, verdict)
}

// row is a line below speedFormat.
func (j *job) row(name string, s *speeds, times, verdict string) {
	perSecond := func(d time.Duration) float64 { return float64(j.size()) / 1e6 / d.Seconds() }
	j.p.printf("%-40s %9.0f %9.0f %9.0f  %7s  %9.2f  %s\n", name, perSecond(slices.Max(s.wall)), perSecond(s.wall.median()),
		perSecond(slices.Min(s.wall)), times, s.cpu.median().Seconds()/float64(j.size())*1e9, verdict)
}

// cat runs it through a pipe to one.
func (j *job) cat(ctx context.Context) (wall, cpu time.Duration, err error) {
	dir := filepath.Join(j.p.floor, "out")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, 0, err
	}
	file, err := os.Create(filepath.Join(dir, "current"))
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	cat := exec.CommandContext(ctx, "cat")
	cat.Stdout = file
	return j.pipe(ctx, cat, dir, "current")
}

// s6 runs it through a pipe to s6-log, whose files are as large as they may be.
func (j *job) s6(ctx context.Context) (wall, cpu time.Duration, err error) {
	dir := filepath.Join(j.p.floor, "s6")
	return j.pipe(ctx, exec.CommandContext(ctx, "s6-log", "n1000", "s268435455", dir), dir, "[@c]*") // current and @…
}

// pipe gives a command the lines as its stdin, until all of them are in those files of a directory that match, and removes it then.
func (j *job) pipe(ctx context.Context, cmd *exec.Cmd, dir, files string) (wall, cpu time.Duration, err error) {
	defer os.RemoveAll(dir)
	r, w, err := os.Pipe()
	if err != nil {
		return 0, 0, err
	}
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	worker := j.p.command(ctx, "worker", j.args()...)
	worker.Stdout, worker.Stderr = w, os.Stderr
	err = errors.Join(cmd.Start(), worker.Start())
	r.Close()
	w.Close()
	if err != nil {
		return 0, 0, err
	}
	if wall, err = j.do(); err == nil {
		err = j.wait(ctx, filepath.Join(dir, files))
	}
	err = errors.Join(err, worker.Process.Kill())
	_ = worker.Wait() // killed
	err = errors.Join(err, cmd.Wait())
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
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

// wait returns when all that was written is in the files that match, and nothing else.
func (j *job) wait(ctx context.Context, files string) error {
	for deadline := time.Now().Add(patience); ; {
		size := sizeOf(files)
		switch {
		case size == j.size():
			return nil
		case size > j.size() || time.Now().After(deadline):
			return fmt.Errorf("%s: %d bytes, not %d", files, size, j.size())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func sizeOf(files string) (size int64) {
	paths, _ := filepath.Glob(files)
	for _, path := range paths {
		if fi, err := os.Stat(path); err == nil {
			size += fi.Size()
		}
	}
	return size
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
