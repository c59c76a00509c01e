//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/process"
)

// passage is a way through the programs of which every system call fails once, or is the last one of its process. before is without a fault.
type passage struct {
	name   string
	keeps  bool // the service is there before, and the same one afterwards
	before func(v *watch)
	act    []string
	lost   []sweepCase // where something was lost or not said once; they are always tried
}

// swept is the service.
var swept = []string{"run", "web", "--restart", "no", unhurried, "--", "sleep", "1000"}

var passages = []passage{
	{name: "start", before: func(*watch) {}, act: swept, lost: []sweepCase{
		{point{"hob", "fstat", "instance-ID/hobd.log", 1}, sabotage{"EACCES", syscall.EACCES}},
		{point{"hobd", "newfstatat", "instance-ID.lock", 1}, sabotage{"EACCES", syscall.EACCES}},
		{point{"hobd", "newfstatat", "instance-ID.lock", 2}, sabotage{"EIO", syscall.EIO}},
	}},
	{name: "stop", before: func(v *watch) { v.must(swept...) }, act: []string{"down", unhurried}},
	{name: "adoption", keeps: true, before: func(v *watch) { v.w.ok(swept...); v.w.killSilently() }, act: swept, lost: []sweepCase{
		{point{"hobd", "openat", "instance-ID/state/web.json", 1}, sabotage{"EMFILE", syscall.EMFILE}},
		{point{"hobd", "openat", "instance-ID/fifo/web", 1}, sabotage{"EMFILE", syscall.EMFILE}},
		{point{"hobd", "pidfd_open", "", 1}, sabotage{"EMFILE", syscall.EMFILE}},
	}},
	{name: "upgrade", keeps: true, before: func(v *watch) { v.must(swept...) }, act: []string{"daemon", "upgrade", unhurried}},
}

// must is a call under the watch that succeeds, and what it leads to.
func (v *watch) must(args ...string) {
	v.w.t.Helper()
	r := v.hob(args...)
	require.Zero(v.w.t, r.code, "%s%s", r.stdout, r.stderr)
	v.settle()
}

// settle waits until nothing happens any more. A point that comes later still is not found, or not met: no harm is done.
func (v *watch) settle() {
	v.w.t.Helper()
	v.w.eventually("it is quiet", func() bool { return v.quiet(100 * time.Millisecond) })
}

// points are the system calls of the passage, in order.
func (s passage) points(t *testing.T) []point {
	v := newWatch(t)
	s.before(v)
	v.begin(nil, sabotage{})
	v.must(s.act...)
	return v.points()
}

// sweepCase is a point and what happens there.
type sweepCase struct {
	at point
	do sabotage
}

// cases are the points with what can happen there: the first time that a program does something, everything; the second and the last time, it is
// killed or one of the rest.
func cases(points []point) []sweepCase {
	last := map[point]int{}
	for _, p := range points {
		last[point{p.program, p.call, p.target, 0}] = p.n
	}
	var all []sweepCase
	for i, p := range points {
		again := p.n == 2 || p.n == last[point{p.program, p.call, p.target, 0}]
		for k, do := range sabotages {
			if p.n == 1 || again && (k == 0 || k == 1+i%(len(sabotages)-1)) {
				all = append(all, sweepCase{p, do})
			}
		}
	}
	return all
}

// play sabotages one call, and then everything is as it has to be. It reports whether the call came.
func (s passage) play(t *testing.T, c sweepCase) (met bool) {
	v := newWatch(t)
	w := v.w
	s.before(v)
	var was *api.Service
	if s.keeps {
		was = w.doc(0, "ps", "web", "--no-spawn").Service
	}
	v.begin(&c.at, c.do)
	r := v.hob(s.act...)
	for deadline := time.Now().Add(time.Second); !v.wasHit() && time.Now().Before(deadline) && !v.quiet(200*time.Millisecond); {
		time.Sleep(time.Millisecond)
	}
	met = v.wasHit()
	v.begin(nil, sabotage{})
	w.requireSaid(r, c)
	w.ok("daemon", "start", unhurried)
	if s.keeps {
		w.requireSame(was, w.doc(0, "ps", "web", unhurried).Service)
	}
	w.ok(swept...)
	require.Len(t, w.marked("web"), 1)
	w.requireNothingLeft()
	return met
}

// requireSaid: hob has succeeded, or it says what has happened; where hobd is gone before it could, its log does.
func (w *world) requireSaid(r result, c sweepCase) {
	w.t.Helper()
	if r.code == 0 || r.signal == syscall.SIGKILL && c.do.errno == 0 {
		return
	}
	require.Equal(w.t, 1, r.code, "%s%s", r.stdout, r.stderr)
	require.Regexp(w.t, `(?m)^hob: .+`, r.stderr)
	if c.do.errno == 0 || c.at.call == "epoll_ctl" { // whose reason the Go runtime keeps to itself
		return
	}
	if c.at.call == "connect" && c.do.errno == syscall.EINTR { // then the connection comes by itself, connect(2), and is waited for
		require.Regexp(w.t, "no answer in time|deadline exceeded|the time is over", r.stderr)
		return
	}
	if strings.Contains(r.stderr, "went away before it answered") {
		// hob may have seen the end before hobd has come to say why.
		w.eventually("hobd says why", func() bool { return strings.Contains(r.stderr+w.daemonLog(), c.do.errno.Error()) })
		return
	}
	require.Contains(w.t, r.stderr, c.do.errno.Error())
}

// requireSame: it is the same run of the same service, and nothing that was known of it is lost.
func (w *world) requireSame(was, is *api.Service) {
	w.t.Helper()
	say := func(s *api.Service) string {
		return fmt.Sprint(s.State, s.Want, s.Pid, s.Generation, s.StartedAt.UnixNano(), s.Cmd, s.Dir, s.Source, s.Restart, s.Restarts, s.LogLost, s.EnvDrift)
	}
	require.Equal(w.t, say(was), say(is), "%s", w.daemonLog())
}

func idsOf(found []process.Marked) []process.ID {
	var ids []process.ID
	for _, m := range found {
		ids = append(ids, m.ID)
	}
	return ids
}

// requireNothingLeft: one daemon and what belongs to it, and after it nothing, nor after the next one.
func (w *world) requireNothingLeft() {
	w.t.Helper()
	w.ok("daemon", "ping", next)
	w.lockedBy(1)
	w.ok("down", unhurried) // this one may still be watched
	require.Empty(w.t, openers(w.inst().LockPath()))
	require.Empty(w.t, w.marked("web"))
	w.ok("daemon", "start", next)
	require.Empty(w.t, w.doc(0, "ps").Services)
	w.ok("daemon", "stop", next)
	w.deserted()
	require.Empty(w.t, leftOvers(w.t, w), "files that nobody has removed")
}

// TestSweep: whatever system call of a start, a stop, an adoption or an upgrade fails, once, in whatever way, or is the last that its process
// gets to: somebody says why, no service suffers, and the next client finds everything in order. HOB_SWEEP is how many of the cases of each
// passage are tried; "full" is all.
func TestSweep(t *testing.T) {
	t.Parallel()
	wanted := 5
	if v := os.Getenv("HOB_SWEEP"); v != "" {
		wanted, _ = strconv.Atoi(v)
	}
	var met, missed atomic.Int64
	possible := 0
	t.Run("points", func(t *testing.T) {
		for _, s := range passages {
			all := cases(s.points(t))
			possible += len(all)
			n := min(cmp.Or(wanted, len(all)), len(all))
			chosen := s.lost
			for i := range n {
				if c := all[(i*len(all)+len(all)/2)/n]; !slices.Contains(s.lost, c) {
					chosen = append(chosen, c)
				}
			}
			for _, c := range chosen {
				t.Run(fmt.Sprintf("%s/%s/%s", s.name, strings.NewReplacer("/", "|", " ", "_").Replace(c.at.String()), c.do.name), func(t *testing.T) {
					t.Parallel()
					if s.play(t, c) {
						met.Add(1)
					} else {
						missed.Add(1)
					}
				})
			}
		}
	})
	t.Logf("%d of %d points, and %d that were not met again", met.Load(), possible, missed.Load())
	require.Greater(t, met.Load(), 4*missed.Load(), "the calls are not found again")
}
