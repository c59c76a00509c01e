//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/process"
)

// passage is a way through the programs whose every system call fails once, or is the last one. before is without a fault, and may run under
// the watch; act is with it.
type passage struct {
	name   string
	keeps  bool // the service is there before, and the same one afterwards
	before func(w *world, v *watch)
	act    func(v *watch) result
}

var passages = []passage{
	{
		name:   "start",
		before: func(*world, *watch) {},
		act:    func(v *watch) result { return v.hob("run", "web", next, "--", "sleep", "1000") },
	},
	{
		name:   "stop",
		before: func(w *world, v *watch) { v.must("run", "web", next, "--", "sleep", "1000") },
		act:    func(v *watch) result { return v.hob("down", next) },
	},
	{
		name:  "adoption",
		keeps: true,
		before: func(w *world, _ *watch) {
			w.ok("run", "web", next, "--", "sleep", "1000")
			w.killSilently()
		},
		act: func(v *watch) result { return v.hob("run", "web", next, "--", "sleep", "1000") },
	},
	{
		name:   "upgrade",
		keeps:  true,
		before: func(w *world, v *watch) { v.must("run", "web", next, "--", "sleep", "1000") },
		act:    func(v *watch) result { return v.hob("daemon", "upgrade", next) },
	},
}

// must is a call under the watch that succeeds. What it leads to is over when it returns.
func (v *watch) must(args ...string) {
	v.w.t.Helper()
	r := v.hob(args...)
	require.Zero(v.w.t, r.code, "%s%s", r.stdout, r.stderr)
	v.settle()
}

// settle waits until nothing happens any more, as far as this can be known: who counts on more than a point that is passed sooner or later
// would be wrong.
func (v *watch) settle() {
	v.w.t.Helper()
	v.w.eventually("it is quiet", func() bool { return v.quiet(100 * time.Millisecond) })
}

func sweepWorld(t *testing.T) (*world, *watch) {
	w := newWorld(t)
	w.bin = filepath.Join(bin, "plain")
	return w, newWatch(w)
}

// points are the system calls of the passage, in order.
func (s passage) points(t *testing.T) []point {
	w, v := sweepWorld(t)
	s.before(w, v)
	v.begin(nil, sabotage{})
	r := s.act(v)
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	v.settle()
	return v.points()
}

// play sabotages one call, and then everything is as it has to be. It reports whether the call was met.
func (s passage) play(t *testing.T, p point, do sabotage) (met bool) {
	w, v := sweepWorld(t)
	s.before(w, v)
	was := idsOf(w.marked("web"))
	v.begin(&p, do)
	r := s.act(v)
	for deadline := time.Now().Add(time.Second); !v.wasHit() && time.Now().Before(deadline) && !v.quiet(200*time.Millisecond); {
		time.Sleep(time.Millisecond)
	}
	met = v.wasHit()
	v.begin(nil, sabotage{})
	s.requireSaid(w, r, do)
	w.ok("daemon", "start", next)
	if w.oneService("web"); s.keeps {
		require.Equal(t, was, idsOf(w.marked("web")), "the service is another one\n%s", w.daemonLog())
	}
	w.requireNothingLeft()
	return met
}

func idsOf(found []process.Marked) []process.ID {
	var ids []process.ID
	for _, m := range found {
		ids = append(ids, m.ID)
	}
	return ids
}

// requireSaid: hob has succeeded, or it says what has happened; where hobd is gone before it could, its log does.
func (s passage) requireSaid(w *world, r result, do sabotage) {
	w.t.Helper()
	if r.code == 0 || r.signal == syscall.SIGKILL && do.errno == 0 {
		return
	}
	require.Equal(w.t, 1, r.code, "%s%s", r.stdout, r.stderr)
	require.Regexp(w.t, `(?m)^hob: .+`, r.stderr)
	if do.errno != 0 {
		said := r.stderr
		if strings.Contains(said, "went away before it answered") {
			said += w.daemonLog()
		}
		require.Contains(w.t, said, do.errno.Error())
	}
}

// requireNothingLeft: one daemon and what belongs to it, and after it nothing, nor after the next one.
func (w *world) requireNothingLeft() {
	w.t.Helper()
	w.ok("daemon", "ping", next)
	require.Len(w.t, openers(w.inst().LockPath()), 1, "processes that hold the lock")
	w.ok("down", next)
	require.Empty(w.t, openers(w.inst().LockPath()))
	w.ok("daemon", "start", next)
	require.Empty(w.t, w.doc(0, "ps").Services)
	w.ok("daemon", "stop", next)
	require.Empty(w.t, w.marked("web"))
	w.deserted()
	require.Empty(w.t, leftOvers(w.t, w), "files that nobody has removed")
}

// TestSweep: whatever system call of a start, a stop, an adoption or an upgrade fails, once, in whatever way, or is the last that its process
// gets to: somebody says why, and the next client finds everything in order. HOB_SWEEP=full has all of them, else it is one of many.
func TestSweep(t *testing.T) {
	t.Parallel()
	var points, met, missed atomic.Int64
	var slow sync.Map
	began := time.Now()
	t.Run("points", func(t *testing.T) {
		for _, s := range passages {
			all := cases(s.points(t))
			t.Log(s.name, len(all))
			for i, c := range all {
				if os.Getenv("HOB_SWEEP") != "full" && i%sweepStep != 7 {
					continue
				}
				points.Add(1)
				t.Run(fmt.Sprintf("%s/%s/%s", s.name, strings.ReplaceAll(c.at.String(), "/", "|"), c.do.name), func(t *testing.T) {
					t.Parallel()
					start := time.Now()
					if s.play(t, c.at, c.do) {
						met.Add(1)
					} else {
						missed.Add(1)
						t.Log("the call did not come")
					}
					slow.Store(t.Name(), time.Since(start))
				})
			}
		}
	})
	t.Logf("%d points, %d met, %d did not come again, %v", points.Load(), met.Load(), missed.Load(), time.Since(began))
	if f := os.Getenv("SWEEP_SAID"); f != "" {
		o, _ := os.OpenFile(f+".slow", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		slow.Range(func(k, v any) bool { fmt.Fprintf(o, "%v %v\n", v.(time.Duration).Milliseconds(), k); return true })
		o.Close()
	}
}

// case is a point and what happens there.
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
		for k, do := range sabotages {
			again := p.n == 2 || p.n == last[point{p.program, p.call, p.target, 0}]
			if p.n == 1 || again && (k == 0 || k == 1+i%(len(sabotages)-1)) {
				all = append(all, sweepCase{p, do})
			}
		}
	}
	return all
}

var sweepStep = func() int { n, _ := strconv.Atoi(os.Getenv("SWEEP_STEP")); return max(n, 8) }()
