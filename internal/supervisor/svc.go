package supervisor

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hobworks/hob/internal/activation"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
)

// svc is one service. Its goroutine owns everything above mu; what others may read is the
// published copy below it.
type svc struct {
	name   string
	sup    *Supervisor
	events chan event
	nudged chan struct{} // what it needs may have changed
	knocks chan struct{} // a connection waits

	quit             chan struct{} // closed by halt
	halted, released sync.Once
	exited           chan struct{} // closed when the goroutine has ended

	st         service.Status
	proc       *process.Process // of this or the last run, until nothing of it is left
	out        *servicelog.Writer
	run        *attempt // the run that is to become ready, or says its status
	again      *event   // a start that waits for the end of stopping
	unready    string   // why the run is being ended, if that is for being not ready
	outlived   bool     // the run could not be stopped
	held       bool     // it waits for whoever said hold
	patient    bool     // it waits for what it needs, even if that is down
	trial      bool     // a run that ends before it is up is not followed by another
	limited    bool     // too many runs have failed
	barren     bool     // the last run left by itself although a connection waits
	front      front
	term       *terminal          // of the run; nil: it has none
	uncheck    context.CancelFunc // ends the alive checks
	over       atomic.Bool        // it is removed: never started again
	removed    chan struct{}      // closed when it is
	notRemoved error              // why it is not; not before removed is closed
	checker    *checker           // the one that uncheck ends
	looking    int                // the generation that is looked at from time to time, whether anybody needs it

	leases  atomic.Int32 // of connections
	sparing atomic.Bool  // the stop that is under way must not cut anybody short

	saving sync.Mutex  // held from a save until that is published: nothing older is written after it. Guards later
	later  *time.Timer // for what could not be written

	mu      sync.Mutex // guards all below
	pub     service.Status
	pubProc *process.Process
	pubOut  *servicelog.Writer
	pubSock *activation.Socket
	pubTerm *terminal
	killed  []int              // by the last stop
	left    error              // what the last stop could not end
	cancel  context.CancelFunc // no more grace for the stop that is under way
	unsaved error              // why pub is not on disk
	changed chan struct{}
}

func newSvc(s *Supervisor, st service.Status) *svc {
	v := makeSvc(s, st)
	go v.loop()
	return v
}

// makeSvc is newSvc without the goroutine: for adoption, which comes before it.
func makeSvc(s *Supervisor, st service.Status) *svc {
	return &svc{name: st.Name, sup: s, st: st, pub: st, events: make(chan event), nudged: make(chan struct{}, 1), knocks: make(chan struct{}, 1),
		quit: make(chan struct{}), exited: make(chan struct{}), changed: make(chan struct{}), removed: make(chan struct{})}
}

// loop is the service's goroutine.
func (v *svc) loop() {
	defer close(v.exited)
	for {
		select {
		case ev := <-v.events:
			v.handle(ev)
			if ev.done != nil {
				close(ev.done)
			}
		case <-v.nudged:
			if v.st.State == service.Waiting {
				v.handle(event{kind: evNeeds, auto: true, lazy: v.st.Lazy})
			}
		case <-v.knocks:
			v.front.armed = false
			v.handle(event{kind: evConnect})
		case <-v.quit:
			return
		}
	}
}

// handle looks the event up in the table.
func (v *svc) handle(ev event) {
	if ev.generation != 0 && ev.generation != v.st.Generation {
		return
	}
	if ev = v.classify(ev); ev.kind == kinds {
		return
	}
	r := table[v.st.State][ev.kind]
	if r.do == nil {
		v.mind()
		return
	}
	from := v.st
	v.st.State = r.to
	r.do(v, ev)
	v.mind()
	if ev.kind != evLook && ev.kind != evConnect && ev.kind != evChecked || v.st.State != from.State {
		v.publish()
	}
	v.tell(from)
	if v.proc != nil && from.State.Alive() && !v.st.State.Alive() {
		// What is left may have ended before anybody knew that something was left (Reap).
		go v.post(event{kind: evOrphan})
	}
	if v.st.State == service.Waiting && from.State != service.Waiting {
		v.nudge() // what it needs may have come before it was known to wait
	}
}

// classify settles which event this is, where that depends on what only the service knows. The
// kind is kinds when it is of no consequence any more.
func (v *svc) classify(ev event) event {
	if v.sup.ending.Load() || v.over.Load() {
		switch ev.kind {
		case evStart, evNeeds, evRetry, evConnect, evRestart:
			ev.kind = kinds
			return ev
		}
	}
	switch ev.kind {
	case evStart, evNeeds:
		if ev.free {
			v.held, ev.lazy = false, v.st.Lazy
		}
		if ev.kind == evNeeds && (v.held || v.st.State != service.Waiting) {
			ev.kind = kinds
			return ev
		}
		return v.classifyStart(ev)
	case evRestart:
		if ev.down && v.st.State.Alive() {
			ev.kind = evSpec
		}
	case evConnect:
		// Somebody may have been accepted by the last run before this came.
		if v.st.State == service.Idle && v.front.sock != nil && v.front.sock.Waits() {
			ev.auto, ev.demand = true, true
			return v.classifyStart(ev)
		}
	case evRetry:
		if v.st.State != service.Backoff {
			ev.kind = kinds
			return ev
		}
		ev.auto, ev.lazy = true, v.st.Lazy
		return v.classifyStart(ev)
	case evExit:
		switch {
		case v.outlived: // and was stopped in the end
			ev.kind = evOrphan
			return ev
		case !v.st.State.Alive() || v.st.State == service.Stopping:
			ev.kind = kinds
			return ev
		}
		e := v.proc.Exit()
		ev.kind = v.classifyExit(e.Known && e.Code == 0 && e.Signal == 0)
	case evLetGo:
		if ev.over != nil && !v.over.Load() && table[v.st.State][evLetGo].do != nil {
			*ev.over = true
			v.over.Store(true)
		}
	case evChecked, evSick, evWell:
		if ev.by != v.checker {
			ev.kind = kinds // of settings that are not these any more
		}
	case evSettled:
		if v.proc != nil && v.proc.Exited() { // its end is on the way, and nothing else counts
			ev.kind = kinds
		}
	case evGone:
		if v.unready != "" {
			ev.kind = v.classifyExit(false)
		}
	}
	return ev
}

// tell lets others know what has changed.
func (v *svc) tell(from service.Status) {
	if v.st.State == from.State && v.st.Generation == from.Generation && v.st.Why == from.Why && v.st.Pid == from.Pid {
		return
	}
	if v.st.State != from.State || v.st.Generation != from.Generation {
		v.sup.o.Log.Info("service", "service", v.name, "from", string(from.State), "to", string(v.st.State),
			"pid", v.st.Pid, "why", v.st.Why)
	}
	v.sup.changed(Event{From: from.State, Now: v.st})
	v.sup.tellDependents(v.name)
}

// show is publish without the disk. What would be lost with this process is somebody else's, too, before anybody
// hears of it.
func (v *svc) show() {
	sock := v.front.sock
	if v.front.stale {
		sock = nil
	}
	v.mu.Lock()
	fresh := sock != nil && sock != v.pubSock || v.term != nil && v.term != v.pubTerm
	v.pubSock, v.pubTerm = sock, v.term
	v.mu.Unlock()
	if fresh {
		v.sup.keep()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pub, v.pubProc, v.pubOut = v.st, v.proc, v.out
	close(v.changed)
	v.changed = make(chan struct{})
}

// status is the published state.
func (v *svc) status() service.Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pub
}

// hasRest reports that the run has ended and something of its tree was left.
func (v *svc) hasRest() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pubProc != nil && !v.pub.State.Alive()
}

// send hands an event over and waits until it was dealt with. It is false when the service was
// removed or let go.
func (v *svc) send(ev event) bool {
	ev.done = make(chan struct{})
	select {
	case v.events <- ev:
		<-ev.done
		return true
	case <-v.quit:
		return false
	}
}

// post is send without waiting.
func (v *svc) post(ev event) {
	select {
	case v.events <- ev:
	case <-v.quit:
	}
}

// outcome notes what a stop came to; before one, and before a run, there is none.
func (v *svc) outcome(killed []int, left error, cancel context.CancelFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.killed, v.left, v.cancel = killed, left, cancel
}

// Signal is a signal for a service.
type Signal struct {
	Number syscall.Signal
	Group  bool // the whole process group, not only its first process
}

func (v *svc) signal(sig Signal) error {
	v.mu.Lock()
	p := v.pubProc
	v.mu.Unlock()
	switch {
	case p == nil:
		return ErrNotRunning
	case sig.Group:
		return p.SignalGroup(sig.Number)
	}
	return p.Signal(sig.Number)
}

// close ends the goroutine and leaves the run alone.
func (v *svc) close() {
	v.halt()
	v.released.Do(v.letGoOfAll)
}

// halt ends the goroutine of the service. From then on nobody owns what it owned but the caller.
func (v *svc) halt() {
	v.halted.Do(func() { close(v.quit) })
	<-v.exited
	v.neverAgain()
}

func (v *svc) letGoOfAll() {
	v.run.close()
	v.stopChecking()
	v.leaveSocket()
	term := v.term
	v.closeTerminal()
	term.settled() // what was read from it is to be in the log
	if v.out == nil {
		return
	}
	if !v.st.State.Alive() { // else it may write for ever, and what it writes waits for the next daemon
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = v.out.Drain(ctx)
	}
	v.out.Close()
}
