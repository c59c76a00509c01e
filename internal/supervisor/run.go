package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/readiness"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
	"github.com/hobworks/hob/internal/sockets"
)

// accept takes in what a start says. Somebody who asks for it wipes the slate clean.
func (v *svc) accept(ev event) {
	v.respec(ev)
	v.st.Want, v.st.NextTry, v.st.Why, v.st.Boot = service.Up, time.Time{}, "", bootID()
	v.held, v.patient, v.st.Lazy = false, ev.patient, false
	v.outcome(nil, nil, nil)
	if !ev.auto {
		v.st.Restarts, v.trial = 0, ev.trial
		forgive(&v.st)
	}
}

// respec takes in what a start says of what is to be started.
func (v *svc) respec(ev event) {
	switch {
	case ev.spec != nil:
		v.setSpec(*ev.spec)
	case ev.env != nil:
		spec := v.st.Spec
		spec.Env = ev.env
		v.setSpec(spec)
	default:
		return
	}
	v.st.EnvAt = time.Now().UTC()
}

// spawn starts a run. The state goes to disk before the fork and again after it: whatever dies in
// between, the next daemon knows what to look for. What is left of the last run ends first, so that there are never two copies of anything.
func (v *svc) spawn(ev event) {
	if v.proc != nil {
		v.endRest(ev)
		return
	}
	again := ev.patient && !ev.demand && v.st.Exit != nil // not the end of somebody's wait for a need
	if v.accept(ev); again {
		v.st.Restarts++
	}
	v.st.Exit, v.outlived = nil, false
	v.st.Generation++
	v.st.Pid, v.st.Start = 0, 0
	v.st.StartedAt, v.st.ReadyAt, v.st.StoppedAt = time.Now().UTC(), time.Time{}, time.Time{}
	v.st.Parking = false
	v.front.fresh() // a start that comes to nothing is not productive because the last run was
	if err := v.exec(); err != nil {
		v.notStarted(err)
	}
}

// endRest ends what is left of the last run, aside, and the start follows.
func (v *svc) endRest(ev event) {
	if ev.auto && !ev.patient { // it is somebody's who has waited for a need, and stays his
		ev.auto, ev.trial = false, v.trial
	}
	v.st.State = service.Stopping
	v.startAgain(ev)
	v.endTree()
}

// notStarted is a run that came to nothing. What may be another's doing is tried again, as if it had
// run; a command that is not there is not.
func (v *svc) notStarted(err error) {
	v.st.StoppedAt = time.Now().UTC()
	v.st.State, v.st.Why = service.Failed, "can't start: "+err.Error()
	var taken *sockets.TakenError
	switch {
	case errors.As(err, &taken):
		v.st.Why = err.Error()
	case v.st.Restarts == 0 || !isPassing(err): // somebody has asked for it, and is told
		return
	}
	switch v.classifyExit(false) {
	case evExitOnce: // not within this call, which would be a loop
		v.st.NextTry = time.Now().UTC()
		fallthrough
	case evExitLater:
		v.st.State = service.Backoff
		v.retryLater()
	default:
		v.sayLimit()
	}
}

// isPassing reports that a process could not be had just then: for want of memory, processes or descriptors, or because its program was being written.
func isPassing(err error) bool {
	return slices.ContainsFunc([]error{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ETXTBSY}, func(e error) bool { return errors.Is(err, e) })
}

func bootID() string {
	id, err := process.BootID()
	if err != nil {
		return ""
	}
	return id
}

// mark is what every process of the run carries in HOB_ID.
func (v *svc) mark() string {
	return fmt.Sprintf("%s/%s/%d", v.sup.o.ID, v.name, v.st.Generation)
}

func (v *svc) exec() error {
	path, err := process.LookPath(v.st.Cmd[0], v.st.Dir, v.st.Env)
	if err != nil {
		return err
	}
	if !v.st.TTY {
		v.closeTerminal() // of the last run
	}
	env, err := v.backend()
	if err != nil {
		return err
	}
	if err := readiness.Taken(v.readiness()); err != nil {
		return err
	}
	if err := v.hold(); err != nil {
		return err
	}
	if err := v.openLog(); err != nil {
		return err
	}
	v.st.LogStart = service.LogMark(v.out.Position())
	lock, err := v.takeLock()
	if err != nil {
		return err
	}
	defer lock.Close()
	out, err := v.output()
	if err != nil {
		return err
	}
	defer out.Close()
	if fault.Mutant("a service runs without its lock") {
		lock = nil
	}
	run, err := v.prepare()
	if err != nil {
		return err
	}
	v.greet()
	v.publish()
	fault.Point("service.before-fork")
	p, err := process.Start(process.Spec{Path: path, Args: v.st.Cmd, Env: slices.Concat(v.environ(), env, run.env), Dir: v.st.Dir,
		Output: out, TTY: run.slave, Lock: lock, Extra: run.extra, Via: run.via, Mark: v.mark()})
	run.started()
	if err != nil {
		run.abandon()
		return err
	}
	fault.Point("service.forked")
	v.take(p)
	v.watchReady(run)
	return nil
}

// take makes p the run's process.
func (v *svc) take(p *process.Process) {
	v.proc = p
	v.st.Pid, v.st.Start = p.ID().Pid, p.ID().Start
	go v.watch(p, v.st.Generation, v.out, v.term)
}

// watch waits for the end of the run's first process. Its last words are in the log before
// anybody hears of it.
func (v *svc) watch(p *process.Process, generation int, out *servicelog.Writer, term *terminal) {
	select {
	case <-p.Done():
	case <-v.quit:
		return
	}
	term.settled()
	drain(out)
	v.post(event{kind: evExit, generation: generation})
}

// drain has what the run wrote last in the log; nil: there is none, for it could not be opened.
func drain(out *servicelog.Writer) {
	if out == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = out.Drain(ctx)
}

func (v *svc) settleLater() {
	ev := event{kind: evSettled, generation: v.st.Generation}
	time.AfterFunc(Settle, func() { v.post(ev) })
}

// settle is for a run that is up.
func (v *svc) settle(ev event) {
	if ev.found.Network != "" {
		v.st.Backend = ev.found
	}
	v.st.ReadyAt = time.Now().UTC()
	if !v.st.Ready.Notify { // what it says of itself holds
		v.st.Why = ""
	}
	v.trial = false
	v.proveLater()
	v.lookLater()
	v.keepChecking()
}

// holders are the files that only the service's own processes have open.
func (v *svc) holders() process.Holders { return v.holdersOf(v.out) }

// holdersOf is holders for those who may not look at v.out.
func (v *svc) holdersOf(out *servicelog.Writer) process.Holders {
	var h process.Holders
	var st unix.Stat_t
	if unix.Stat(filepath.Join(v.sup.o.Locks, v.name+".lock"), &st) == nil {
		h.Files = append(h.Files, process.FileID{Dev: uint64(st.Dev), Ino: st.Ino})
	}
	if out != nil {
		dev, ino := out.FIFO()
		h.Files = append(h.Files, process.FileID{Dev: dev, Ino: ino})
	}
	return h
}

// openLog opens the log once; it stays open while the daemon knows the service.
func (v *svc) openLog() (err error) {
	if v.out != nil {
		return nil
	}
	v.out, err = servicelog.Open(servicelog.Options{Dir: v.sup.logDir(v.name),
		FIFO: filepath.Join(v.sup.o.FIFOs, v.name), Logger: v.sup.o.Log, Max: v.st.Log.Max, Keep: v.st.Log.Keep})
	return err
}

// output opens the FIFO for the run. One that was removed since the last run is made again.
func (v *svc) output() (*os.File, error) {
	out, err := v.out.Output()
	if !errors.Is(err, os.ErrNotExist) {
		return out, err
	}
	v.out.Close()
	v.out = nil
	if err := v.openLog(); err != nil {
		return nil, err
	}
	return v.out.Output()
}

func pids(all []process.Info) []int {
	out := make([]int, 0, len(all))
	for _, i := range all {
		out = append(out, i.Pid)
	}
	return out
}

func pidList(pids []int) string {
	words := make([]string, len(pids))
	for i, p := range pids {
		words[i] = fmt.Sprint(p)
	}
	if len(words) == 1 {
		return "pid " + words[0]
	}
	return "pids " + strings.Join(words, ", ")
}
