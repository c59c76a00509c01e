package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// terminate ends the tree, aside: the service's goroutine stays free.
func (v *svc) terminate(event) {
	v.st.Want, v.st.Why = service.Down, ""
	v.endTree()
}

// endTree is terminate whatever is wanted.
func (v *svc) endTree() { v.endTreeWith(process.Stop{}) }

// endTreeWith adds to stop how the service is ended.
func (v *svc) endTreeWith(stop process.Stop) {
	v.run.close()
	v.stopChecking()
	ctx, cancel := context.WithCancel(context.Background())
	v.outcome(nil, nil, cancel)
	p := v.proc
	if p == nil {
		p = process.Remains(v.mark())
	}
	stop.Signal, stop.Grace, stop.Holders = v.st.Stop.Signal, v.st.Stop.Timeout, v.holders()
	stop.Free = v.lockIsFree
	ev := event{kind: evGone, generation: v.st.Generation}
	out, term := v.out, v.term
	go func() {
		defer cancel()
		// Not before it is written down: the next hobd would take the end for that of a run that nobody has stopped.
		_, _ = v.await(ctx, func(st service.Status) bool { return st.State == service.Stopping })
		fault.Point("service.terminating")
		killed, err := p.Terminate(ctx, stop)
		if ev.killed = pids(killed); err != nil {
			ev.kind, ev.err = evStuck, err
		}
		term.settled()
		drain(out)
		v.post(ev)
	}()
}

// giveUp ends a run that is not ready. What follows is the policy's to say.
func (v *svc) giveUp(ev event) {
	v.unready = ev.err.Error()
	v.st.Why = v.unready
	v.endTree()
}

// gaveUp is the end of a run that was not ready.
func (v *svc) gaveUp(ev event) {
	why := v.unready
	v.unready = ""
	v.gone(ev)
	v.st.Why = why
	v.sayLimit()
}

func (v *svc) gaveUpOnce(ev event) {
	v.gaveUp(ev)
	v.startFrom(service.Backoff, event{auto: true})
}

func (v *svc) gaveUpLater(ev event) {
	v.gaveUp(ev)
	v.retryLater()
}

// stopRest ends what is left of a run that ended by itself, or takes back a start that waits; without
// any the state stays.
func (v *svc) stopRest(event) {
	v.st.Want, v.st.NextTry = service.Down, time.Time{}
	v.outcome(nil, nil, nil)
	if v.proc != nil {
		v.st.State = service.Stopping
		v.endTree()
	}
}

// takeBack is stopRest for a start that waits: what for is nobody's concern any more.
func (v *svc) takeBack(ev event) {
	v.st.Why = ""
	v.stopRest(ev)
}

// gone is the end of stopping.
func (v *svc) gone(ev event) {
	if v.proc != nil && v.st.Exit == nil {
		v.noteExit(v.proc.Exit())
	}
	v.release()
	v.st.Pid, v.st.Start = 0, 0
	v.st.StoppedAt = time.Now().UTC()
	v.st.Why = ""
	if len(ev.killed) > 0 {
		v.st.Why = "had to kill " + pidList(ev.killed)
	}
	v.outcome(ev.killed, nil, nil)
	switch again := v.again; {
	case again != nil && again.hold:
		v.again, v.st.Parking = nil, false
		v.waitForOthers()
	case again != nil:
		v.again, v.st.Parking = nil, false
		v.startFrom(service.Stopped, *again)
	case v.st.Parking:
		v.parked()
	}
}

// stuck is a tree that outlived SIGKILL: in state D, as a rule.
func (v *svc) stuck(ev event) {
	v.again, v.unready, v.outlived, v.st.Parking = nil, "", true, false
	v.st.Why = cantStop + ev.err.Error()
	v.outcome(ev.killed, ev.err, nil)
}

// startAgain remembers a start that came while stopping.
func (v *svc) startAgain(ev event) {
	why := v.st.Why
	v.expect(ev)
	if ev.kind == evRest && v.st.Parking {
		v.st.Why = why // it is idle in the end, as it was to be
	}
	ev.done, ev.kind, ev.spec, ev.env = nil, evStart, nil, nil
	v.again = &ev
}

// expect writes down what is to be started: whatever becomes of this process, it is.
func (v *svc) expect(ev event) {
	v.respec(ev)
	v.st.Lazy = ev.lazy
	v.unready, v.st.Want, v.st.Why, v.st.NextTry, v.st.Boot = "", service.Up, "", time.Time{}, bootID()
}

// restart ends the run, and another one follows.
func (v *svc) restart(ev event) {
	v.terminate(ev)
	v.startAgain(ev)
}

// renew is restart where none runs. Something of the last one may be left.
func (v *svc) renew(ev event) {
	if v.unwanted(ev) {
		v.adjust(ev)
		return
	}
	v.outcome(nil, nil, nil)
	switch {
	case v.proc != nil:
		v.st.State = service.Stopping
		v.restart(ev)
	case ev.hold:
		v.expect(ev)
		v.waitForOthers()
	default:
		ev.kind = evStart
		v.startFrom(v.st.State, ev)
	}
}

// unwanted: somebody has stopped it before the restart, which is for those that are not.
func (v *svc) unwanted(ev event) bool { return ev.hold && !ev.asked && v.st.Want == service.Down }

// waitForOthers waits for the start that somebody has promised, who waits for other services to end.
func (v *svc) waitForOthers() {
	v.st.State, v.st.Why, v.held = service.Waiting, "for others to stop", true
}

// stopToRestart is for a restart while a stop is under way.
func (v *svc) stopToRestart(ev event) {
	if v.unwanted(ev) {
		v.adjust(ev)
		return
	}
	v.stopForGood(ev)
	v.startAgain(ev)
}

// stopForGood is for a stop that somebody asks for while another one is under way.
func (v *svc) stopForGood(event) {
	v.again, v.unready, v.st.Want, v.st.Parking = nil, "", service.Down, false
	v.sparing.Store(false)
}

// remove forgets the service, with or without its log. One that somebody has started meanwhile is not removed; nobody starts it any more, or
// another one of its name, before its files are gone. Who comes second waits for the one who does it.
func (v *svc) remove(log bool) (err error) {
	over := false
	switch sent := v.send(event{kind: evLetGo, over: &over}); {
	case sent && over:
	case v.over.Load():
		<-v.removed
		return v.notRemoved
	default:
		return fmt.Errorf("service %q: %w but %s; stop it first", v.name, ErrBusy, v.status().State)
	}
	defer func() {
		v.notRemoved = err
		close(v.removed)
	}()
	defer v.sup.forget(v)
	v.close()
	o := v.sup.o
	for _, path := range []string{filepath.Join(o.Locks, v.name+".lock"), filepath.Join(o.FIFOs, v.name),
		filepath.Join(o.FIFOs, v.name+".ready"), filepath.Join(o.Notify, v.name)} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if log {
		if err := os.RemoveAll(v.sup.logDir(v.name)); err != nil {
			return err
		}
	}
	if err := o.Store.Delete(v.name); err != nil {
		return err
	}
	st := v.status()
	v.sup.changed(Event{From: st.State, Now: st, Removed: true})
	return nil
}

// Detail is what is seen only by looking at processes.
type Detail struct {
	Pids   []int
	CPU    time.Duration
	RSS    int64
	Killed []int // by the last stop
	Lost   int64 // bytes of the log

	Unsaved error // why the state is not on disk
}

// Look looks at a service's processes. It walks /proc.
func (s *Supervisor) Look(name string) Detail {
	v, err := s.get(name)
	if err != nil {
		return Detail{}
	}
	v.mu.Lock()
	p, out, killed := v.pubProc, v.pubOut, v.killed
	v.mu.Unlock()
	d := Detail{Killed: killed, Unsaved: v.whyUnsaved()}
	if out != nil {
		d.Lost = out.Lost()
	}
	if p == nil {
		return d
	}
	if tree, err := p.Tree(v.holdersOf(out)); err == nil {
		d.Pids = pids(tree)
		d.CPU, d.RSS = process.Usage(d.Pids)
	}
	return d
}
