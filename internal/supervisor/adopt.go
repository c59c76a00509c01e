package supervisor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// Adopt takes over what an earlier daemon of this instance left: every service in all as it was
// last written, with the process that still runs for it. What was forked and not yet written down is
// found by its mark. files are those that Files or HandOver gave the earlier daemon, as far as somebody has kept them; they are taken
// over. It blocks until all are adopted; a service that can't be is failed, with the reason.
func (s *Supervisor) Adopt(all []service.Status, files map[string]*os.File) error {
	var marked map[string][]process.Marked
	err := persist(func() (err error) { marked, err = s.marked(); return err })
	if err != nil {
		s.o.Log.Error("look for processes of an earlier daemon", "err", err)
	}
	known := make([]*svc, 0, len(all))
	for _, st := range append(all, s.rebuilt(all, marked)...) {
		v := makeSvc(s, s.advanced(st, marked))
		known = append(known, v)
		s.mu.Lock()
		s.all[st.Name] = v
		s.mu.Unlock()
	}
	var wg sync.WaitGroup
	for _, v := range known {
		wg.Go(func() {
			v.adopt(marked[v.mark()], files)
			v.mind()
			v.publish()
		})
	}
	wg.Wait()
	s.adopted.Store(true)
	// Not before: what one does depends on what has become of others (TestNothingStartsInAHalfKnownWorld).
	for _, v := range known {
		go v.loop()
	}
	s.Reap()
	for _, f := range files {
		f.Close() // also of those that nobody knows any more
	}
	for _, v := range s.services() {
		v.nudge() // those that wait for another one
	}
	return err
}

// marked finds the running processes of this instance, by mark.
func (s *Supervisor) marked() (map[string][]process.Marked, error) {
	found, err := process.FindMarked(s.o.ID + "/")
	byMark := map[string][]process.Marked{}
	for _, m := range found {
		byMark[m.Mark] = append(byMark[m.Mark], m)
	}
	return byMark, err
}

// advanced makes st that of the run which lives, if that is a later one than was written down: on a full disk nothing was.
func (s *Supervisor) advanced(st service.Status, marked map[string][]process.Marked) service.Status {
	for mark, found := range marked {
		name, generation, ok := parseMark(mark)
		if !ok || name != st.Name || generation <= st.Generation {
			continue
		}
		for _, m := range found {
			if m.Session != m.Pid {
				continue
			}
			s.o.Log.Warn("a run of a service was not written down and is found by its mark", "service", name, "pid", m.Pid)
			st.Generation, st.State, st.Want, st.Exit, st.Why = generation, service.Running, service.Up, nil, ""
			st.Pid, st.Start, st.Boot = m.Pid, m.ID.Start, m.ID.Boot
			if d, err := process.Describe(m.ID); err == nil {
				st.StartedAt, st.ReadyAt = d.StartedAt, d.StartedAt
			}
		}
	}
	return st
}

// rebuilt makes up the state of services whose files were lost, from the processes that still
// run for them.
func (s *Supervisor) rebuilt(known []service.Status, marked map[string][]process.Marked) []service.Status {
	var all []service.Status
	for mark, found := range marked {
		name, generation, ok := parseMark(mark)
		has := func(st service.Status) bool { return st.Name == name }
		if !ok || slices.ContainsFunc(known, has) || slices.ContainsFunc(all, has) {
			continue
		}
		for _, m := range found {
			if m.Session != m.Pid {
				continue
			}
			d, err := process.Describe(m.ID)
			if err != nil || len(d.Args) == 0 {
				s.o.Log.Error("rebuild the state of a service", "service", name, "pid", m.Pid, "err", err)
				continue
			}
			s.o.Log.Warn("state of a service was lost and is rebuilt from its process", "service", name, "pid", m.Pid)
			all = append(all, service.Status{
				Spec:  service.Spec{Name: name, Cmd: d.Args, Dir: d.Dir, Env: d.Env, Source: service.SourceRun, Stop: service.DefaultStop},
				State: service.Running, Want: service.Up, Generation: generation, StartedAt: d.StartedAt, ReadyAt: d.StartedAt,
				Pid: m.Pid, Start: m.ID.Start, Boot: m.ID.Boot})
			break
		}
	}
	return all
}

// parseMark takes ID/SERVICE/GENERATION apart.
func parseMark(mark string) (name string, generation int, ok bool) {
	parts := strings.Split(mark, "/")
	if len(parts) != 3 || service.CheckName(parts[1]) != nil {
		return "", 0, false
	}
	generation, err := strconv.Atoi(parts[2])
	return parts[1], generation, err == nil
}

// adopt makes the state true. It runs before any service's goroutine does.
func (v *svc) adopt(found []process.Marked, files map[string]*os.File) {
	if v.st.State.Active() && v.st.Boot != bootID() {
		v.st.State, v.st.Pid, v.st.Start = service.Stopped, 0, 0
		v.st.Why, v.st.Held, v.st.Parking, v.st.Leases = "reboot", false, false, nil
		return
	}
	if v.st.Held {
		// Where the run has the only one, a socket is held again from its end on.
		if err := v.holdAgain(files[socketFile+v.name]); err != nil {
			v.sup.o.Log.Warn("hold the socket again", "service", v.name, "err", err)
		}
	}
	v.goOnForwarding(files)
	for _, l := range v.st.Leases {
		v.outlast(l)
	}
	if !v.st.State.Alive() {
		v.adoptRest(found)
		if v.st.State == service.Backoff {
			v.retryLater()
		}
		if v.st.State == service.Idle {
			v.rested()
		}
		v.patient = v.st.State == service.Waiting && v.st.Exit != nil // it is to be started again, not for somebody who waits
		return
	}
	if err := persist(v.openLog); err != nil {
		v.sup.o.Log.Error("open the log again", "service", v.name, "err", err)
	}
	var p *process.Process
	err := persist(func() (err error) { p, err = v.find(found); return err })
	if fault.Mutant("what runs is not adopted") {
		p, found, err = nil, nil, errNotThere
	}
	if err == nil {
		// While it stops, the next run may be to have none.
		if f := files[terminalFile+v.name]; v.st.TTY || f != nil && v.st.State == service.Stopping {
			if err := v.takeTerminal(f); err != nil {
				v.sup.o.Log.Error("take over the terminal", "service", v.name, "err", err)
			}
		}
		v.adopted(p)
		return
	}
	v.missed(found, err)
}

// adoptRest is for a run that has ended: what was left of it may have ended, too, while nobody looked.
func (v *svc) adoptRest(found []process.Marked) {
	v.outlived = v.st.State == service.Failed && strings.HasPrefix(v.st.Why, cantStop)
	if len(found) > 0 || v.outlived || restWords.MatchString(v.st.Why) || v.lockTaken() {
		v.remains()
		v.lookForRest(event{})
	}
	if v.proc == nil {
		v.st.Pid, v.st.Start = 0, 0
	}
}

// remains keeps the rest of a run whose first process is gone.
func (v *svc) remains() {
	v.proc = process.Remains(v.mark())
	if err := v.openLog(); err != nil {
		v.sup.o.Log.Error("open the log again", "service", v.name, "err", err)
	}
}

// persist does what must not fail for a passing reason, such as descriptors that are short for a moment: for some 0.6 s, unless the answer
// is that the process is not there.
func persist(do func() error) error {
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		err := do()
		if err == nil || errors.Is(err, os.ErrProcessDone) || errors.Is(err, errNotThere) || pause > 320*time.Millisecond {
			return err
		}
		time.Sleep(pause)
	}
}

var errNotThere = errors.New("no process of it runs")

// find adopts the run's first process: by what was written, else by the mark.
func (v *svc) find(found []process.Marked) (*process.Process, error) {
	if v.st.Pid != 0 {
		return process.Adopt(process.ID{Pid: v.st.Pid, Start: v.st.Start, Boot: v.st.Boot}, v.mark())
	}
	for _, m := range found {
		if m.Session == m.Pid {
			return process.Adopt(m.ID, m.Mark)
		}
	}
	return nil, errNotThere
}

func (v *svc) adopted(p *process.Process) {
	v.st.Adopted++
	v.take(p)
	v.greet()
	if v.st.Idle > 0 && v.st.Held {
		// The daemon before may have been killed while it had the tree stand still, to count who is connected.
		if err := v.proc.Continue(v.holders()); err != nil {
			v.sup.o.Log.Error("let an adopted service go on", "service", v.name, "err", err)
		}
	}
	v.front.needed = time.Now().Add(reunion)
	switch {
	case v.st.State == service.Stopping:
		v.resumeStop()
	case v.readiness().Declared():
		if err := persist(v.rejoin); err != nil {
			v.sup.o.Log.Error("adopt", "service", v.name, "err", err)
			if v.st.State == service.Starting { // it would be for ever
				go v.post(event{kind: evUnready, generation: v.st.Generation, err: err})
			}
		}
	case v.st.State == service.Starting:
		v.settleLater()
	}
	if v.st.State.Serving() {
		v.proveLater()
		v.lookLater()
		v.keepChecking()
	}
	v.sup.o.Log.Info("adopted", "service", v.name, "pid", v.st.Pid, "state", string(v.st.State))
}

// reunion is how long an adopted service is not idle, beside its own time: who has a lease has lost it with the daemon before, and asks for
// another one.
const reunion = 3 * time.Second

// missed is a run that is not there any more: it ended while no daemon looked.
func (v *svc) missed(found []process.Marked, err error) {
	state, id := v.st.State, process.ID{Pid: v.st.Pid, Start: v.st.Start, Boot: v.st.Boot}
	v.st.Pid, v.st.Start = 0, 0
	drain(v.out)                         // what it wrote while nobody looked comes before the end that is noted
	if len(found) > 0 || v.lockTaken() { // who has the lock may have dropped the mark
		v.remains()
	}
	switch {
	case state == service.Stopping:
		if v.st.Exit == nil {
			v.noteExit(id.Exit())
		}
		if v.proc != nil {
			v.resumeStop()
			return
		}
		if v.notReady() {
			v.policy(false, v.st.Why)
			return
		}
		v.st.State = service.Stopped
		switch {
		case v.following():
			v.toFollow()
		case v.st.Parking:
			v.parked()
		}
	case id.Pid == 0 && v.proc == nil:
		// The daemon was killed between writing this down and the fork.
		v.toFollow()
		return
	case !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, errNotThere):
		v.noteExit(process.Exit{})
		v.st.State, v.st.Why = service.Failed, fmt.Sprintf("can't be adopted: %v", err)
	default:
		v.endedUnseen(id.Exit())
	}
	v.st.StoppedAt = time.Now().UTC()
}

// following reports that another run was to follow the one that was being stopped. A stop that nobody asked for has a reason until somebody asks for a
// start.
func (v *svc) following() bool { return v.st.Want == service.Up && (!v.st.Parking || v.st.Why == "") }

// toFollow has the run started as soon as all are adopted, and by the next hobd, if this one does not come to it.
func (v *svc) toFollow() { v.st.State, v.st.Parking, v.patient = service.Waiting, false, true }

// resumeStop goes on with a stop that an earlier daemon began: because somebody asked for it, because nobody needed the service, because
// the run was not ready, or for another run to follow.
func (v *svc) resumeStop() {
	switch {
	case v.notReady():
		v.unready = v.st.Why
	case v.following():
		v.again = &event{kind: evStart, auto: true, lazy: v.st.Lazy}
	}
	if v.st.Parking {
		v.endIdle(nil)
		return
	}
	v.endTree()
}

// notReady reports that the stop which an earlier daemon began is the end of a run that was not ready: then there is a reason.
func (v *svc) notReady() bool { return v.st.Want == service.Up && !v.st.Parking && v.st.Why != "" }

// endedUnseen applies the policy to a run that ended while no daemon looked.
func (v *svc) endedUnseen(e process.Exit) {
	v.noteExit(e)
	v.policy(e.Known && e.Code == 0 && e.Signal == 0, v.st.Exit.String()+" while hobd was down")
}

// policy is what follows from the end of a run, for which why is the reason.
func (v *svc) policy(ok bool, why string) {
	v.st.Why = why
	switch v.classifyExit(ok) {
	case evExitOK:
		v.st.State = service.Done
	case evExitRest:
		v.rested()
	case evExitBad:
		v.st.State = service.Failed
		v.sayLimit()
	case evExitOnce:
		v.st.NextTry = time.Now().UTC()
		fallthrough
	default:
		v.st.State = service.Backoff
		v.retryLater()
	}
}
