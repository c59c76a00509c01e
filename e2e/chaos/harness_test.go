//go:build linux

package chaos

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// harness is one run.
type harness struct {
	config
	began    time.Time
	ctx      context.Context // ends with the time for faults, or with a violation that is to be the last
	cancel   context.CancelFunc
	projects []*project
	kernel   *tracer // nil: the kernel can't be asked

	calls    atomic.Int64 // of clients
	programs atomic.Int64 // of those, processes of hob
	refused  atomic.Int64 // of those, with an error that says what the fault was

	mu         sync.Mutex // guards all below
	faults     map[string]int
	took       map[string]time.Duration
	worst      map[string]time.Duration
	violations []string
	checked    int // answers in histories that were checked
	daemons    int // that have answered
}

// harnessMain runs the harness and prints what came of it. The exit status is 1 if there was a violation, 2 if it could not run.
func harnessMain() int {
	c, err := readConfig()
	if err == nil {
		err = os.Setenv("HOB_STATE_DIR", filepath.Join(c.Base, "state"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	h := &harness{config: c, began: time.Now(), faults: map[string]int{}, took: map[string]time.Duration{}, worst: map[string]time.Duration{}}
	h.ctx, h.cancel = context.WithTimeout(context.Background(), c.Duration)
	defer h.cancel()
	if err := h.setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "set up:", err)
		return 2
	}
	took := h.run()
	h.end()
	h.report(took)
	if len(h.violations) > 0 {
		return 1
	}
	return 0
}

func (h *harness) setUp() error {
	if err := os.Mkdir(filepath.Join(h.Base, "state"), 0o700); err != nil {
		return err
	}
	h.kernel = trace(h)
	for i, k := range kinds {
		if len(h.Only) > 0 && !slices.Contains(h.Only, k.name) {
			continue
		}
		for n := range h.copies(k) {
			p, err := newProject(h, *k, fmt.Sprintf("%s-%d", k.name, n), uint64(i*100+n))
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			if p != nil {
				h.projects = append(h.projects, p)
			}
		}
	}
	h.ctx, h.cancel = context.WithTimeout(context.Background(), h.Duration) // from now on
	return nil
}

func (h *harness) copies(k *kind) int {
	if h.Few {
		return min(max(k.copies, 1), 2)
	}
	return max(k.copies, 1)
}

// run lets the faults loose until time is up.
func (h *harness) run() (took time.Duration) {
	began := time.Now()
	var wg sync.WaitGroup
	for _, p := range h.projects {
		wg.Go(p.drive)
		wg.Go(p.ask)
		for range p.kind.racers {
			wg.Go(p.race)
		}
		wg.Go(func() { p.watch() })
	}
	wg.Go(h.scan)
	<-h.ctx.Done()
	took = time.Since(began)
	wg.Wait()
	return took
}

// end stops everything and looks for what is left. What has been found to be wrong already is ended without ceremony.
func (h *harness) end() {
	enough := h.Stop && h.anyViolation()
	for _, p := range h.projects {
		if !enough {
			p.end()
		}
	}
	if h.kernel != nil {
		h.kernel.close()
	}
	if !enough {
		h.nothingLeft()
	}
	for deadline := time.Now().Add(h.Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		left := h.processesLeft()
		if len(left) == 0 {
			break
		}
		for _, p := range left {
			p.signal(unix.SIGKILL)
		}
	}
}

func (h *harness) anyViolation() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.violations) > 0
}

// violated notes that hob has broken a promise.
func (h *harness) violated(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := fmt.Sprintf("%8.3fs  ", time.Since(h.began).Seconds()) + fmt.Sprintf(format, args...)
	if len(h.violations) < 30 {
		h.violations = append(h.violations, what)
	}
	if h.Stop {
		h.cancel()
	}
}

// count counts a fault that was applied and survived, and what it took until a client had an answer again.
func (h *harness) count(kind string, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[kind]++
	h.took[kind] += took
	h.worst[kind] = max(h.worst[kind], took)
}

func (h *harness) report(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	total := 0
	for name, n := range h.faults {
		names = append(names, name)
		total += n
	}
	slices.Sort(names)
	for _, name := range names {
		mean := h.took[name] / time.Duration(h.faults[name])
		fmt.Printf("%7d  %s (%v, %v at worst)\n", h.faults[name], name, mean.Round(100*time.Microsecond), h.worst[name].Round(time.Millisecond))
	}
	fmt.Printf("%7d  faults in %.1f s, of %d kinds, %.0f a second\n", total, took.Seconds(), len(names), float64(total)/took.Seconds())
	fmt.Printf("%7d  calls of clients (%d of them processes of hob), %d of them refused with the fault as the reason\n",
		h.calls.Load(), h.programs.Load(), h.refused.Load())
	fmt.Printf("%7d  answers in the histories, of %d daemons, linearizable\n", h.checked, h.daemons)
	if h.kernel != nil {
		fmt.Printf("%7d  locks granted, by the kernel's trace\n", h.kernel.grants.Load())
	} else {
		fmt.Println("         " + untold)
	}
	fmt.Printf("%7d  violations\n", len(h.violations))
	for _, v := range h.violations {
		fmt.Println("VIOLATION", v)
	}
}

// untold is printed where the kernel can't be asked to tell of each lock.
const untold = "no trace of the kernel's locks: tracefs can't be mounted here"

// nothingLeft looks for processes and half-made files.
func (h *harness) nothingLeft() {
	var left []proc
	for deadline := time.Now().Add(h.Patience); ; time.Sleep(10 * time.Millisecond) {
		if left = h.processesLeft(); len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, p := range left {
		h.violated("left over: process %d: %s", p.pid, strings.Join(cmdline(p.pid), " "))
	}
	for _, p := range h.projects {
		_ = filepath.WalkDir(p.instance, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Dir(path) != p.instance && strings.Contains(filepath.Base(path), ".new-") {
				h.violated("%s: left over: file %s", p.kind.name, path)
			}
			return nil
		})
		entries, _ := filepath.Glob(filepath.Join(p.instance, "*"))
		for _, e := range entries {
			name := filepath.Base(e)
			if !slices.Contains(places, name) && !strings.HasPrefix(name, "hobd.log") {
				h.violated("%s: left over: file %s", p.kind.name, e)
			}
		}
	}
}

// places are what an instance directory may have in it when no daemon runs.
var places = []string{"meta.json", "state", "env", "svc", "fifo", "notify", "log", "sock", "settings.json", "sentry.pid"}

// processesLeft are those whose files are this run's; in a pid namespace of our own, all.
func (h *harness) processesLeft() (left []proc) {
	for _, pid := range allPids() {
		p, ok := statOf(pid)
		if !ok || p.gone || pid == 1 || pid == os.Getpid() || p.ppid == 0 {
			continue
		}
		line := strings.Join(cmdline(pid), " ")
		if !h.Private && !strings.HasPrefix(variable(pid, "HOB_STATE_DIR"), h.Base+"/") && !strings.Contains(line, h.Base+"/") {
			continue
		}
		left = append(left, p)
	}
	return left
}
