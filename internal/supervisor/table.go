package supervisor

import (
	"fmt"
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// kind is what can happen to a service.
type kind int

// The events. Some are posted as one kind and become another one, by what the service's own
// goroutine knows: see classify.
const (
	evStart      kind = iota // somebody wants it up, or its time has come, and all it needs is there
	evStartLate              // the same, and something that it needs is still to come
	evStartNever             // the same, and something that it needs will not come by itself
	evNeeds                  // something may have changed about what it needs; becomes a start
	evRetry                  // the back-off is over; becomes a start
	evSpec                   // the file says something else that takes no restart
	evStop                   // somebody wants it down
	evSettled                // it has lived for Settle
	evReady                  // it is ready
	evUnready                // it was not ready in time, or somebody else answers in its place
	evProven                 // it has been up for provenAfter
	evStatus                 // it says what it is doing, sd_notify(3)
	evExit                   // its first process ended; becomes one of the next four
	evExitOK                 // with exit 0, and that is the end
	evExitBad                // otherwise, and that is the end
	evExitOnce               // another run follows at once
	evExitLater              // another run follows after a while
	evGone                   // its whole tree is gone
	evStuck                  // its tree could not be ended
	evOrphan                 // an orphan has ended, perhaps one of what is left of it
	kinds
)

var kindNames = [kinds]string{
	evStart:      "start",
	evStartLate:  "start, a need is open",
	evStartNever: "start, a need is down",
	evSpec:       "new settings",
	evStop:       "stop",
	evSettled:    "lived 300 ms",
	evReady:      "ready",
	evUnready:    "not ready",
	evProven:     "up for 10 s",
	evStatus:     "says its status",
	evExitOK:     "exit 0",
	evExitBad:    "exit other",
	evExitOnce:   "exit, again at once",
	evExitLater:  "exit, again later",
	evGone:       "tree gone",
	evStuck:      "tree stuck",
	evOrphan:     "orphan ended",
}

// event is what happened, with what is known of it.
type event struct {
	kind       kind
	generation int           // events of an earlier run are dropped; 0: not about a run
	spec       *service.Spec // with evStart and evSpec: this from now on
	trial      bool          // with evStart: a run that ends before it is up is not followed by another
	auto       bool          // with evStart: nobody asked, it is a restart
	patient    bool          // with the starts: wait also for what is down
	text       string        // with evStatus, and with the starts that something is missing for
	killed     []int         // with evGone
	err        error         // with evStuck and evUnready
	done       chan struct{} // closed when the event was dealt with; may be nil
}

// row is what an event leads to: the next state, then the action, which may go to another state
// by itself when it fails.
type row struct {
	to service.State
	do func(*svc, event)
}

// table is the whole behaviour of a service. An event that has no row in a state changes
// nothing.
var table map[service.State][kinds]row

// It is filled here because the actions refer to it.
func init() {
	up := func(s service.State) [kinds]row {
		return [kinds]row{
			evSpec:      {s, (*svc).adjust},
			evStop:      {service.Stopping, (*svc).terminate},
			evProven:    {s, (*svc).prove},
			evStatus:    {s, (*svc).say},
			evExitOK:    {service.Done, (*svc).ended},
			evExitBad:   {service.Failed, (*svc).ended},
			evExitOnce:  {service.Starting, (*svc).respawn},
			evExitLater: {service.Backoff, (*svc).schedule},
		}
	}
	down := func(s service.State) [kinds]row {
		return [kinds]row{
			evStart:      {service.Starting, (*svc).spawn},
			evStartLate:  {service.Waiting, (*svc).wait},
			evStartNever: {service.Failed, (*svc).lack},
			evSpec:       {s, (*svc).adjust},
			evStop:       {s, (*svc).stopRest}, // stopping, when something of its tree is left
			evOrphan:     {s, (*svc).lookForRest},
		}
	}
	starting := up(service.Starting)
	starting[evSettled] = row{service.Running, (*svc).settle}
	starting[evReady] = row{service.Ready, (*svc).settle}
	starting[evUnready] = row{service.Stopping, (*svc).giveUp}
	starting[evProven] = row{}
	waiting, backoff := down(service.Stopped), down(service.Stopped)
	waiting[evSpec].to, backoff[evSpec].to = service.Waiting, service.Backoff
	waiting[evOrphan].to, backoff[evOrphan].to = service.Waiting, service.Backoff
	table = map[service.State][kinds]row{
		service.Stopped:  down(service.Stopped),
		service.Waiting:  waiting,
		service.Starting: starting,
		service.Ready:    up(service.Ready),
		service.Running:  up(service.Running),
		service.Backoff:  backoff,
		service.Done:     down(service.Done),
		service.Failed:   down(service.Failed),
		service.Stopping: {
			evStart:      {service.Stopping, (*svc).startAgain},
			evStartLate:  {service.Stopping, (*svc).startAgain},
			evStartNever: {service.Stopping, (*svc).startAgain},
			evSpec:       {service.Stopping, (*svc).adjust},
			evStop:       {service.Stopping, (*svc).stopForGood},
			evGone:       {service.Stopped, (*svc).gone},
			evStuck:      {service.Failed, (*svc).stuck},
			// Only after "not ready": the run was ended because of that.
			evExitBad:   {service.Failed, (*svc).gaveUp},
			evExitOnce:  {service.Starting, (*svc).gaveUpOnce},
			evExitLater: {service.Backoff, (*svc).gaveUpLater},
		},
	}
}

// Table prints the table, for the documentation.
func Table() string {
	var b strings.Builder
	for _, from := range service.States {
		for k, r := range table[from] {
			if r.do != nil {
				fmt.Fprintf(&b, "%-8s × %-21s → %s\n", from, kindNames[k], r.to)
			}
		}
	}
	return b.String()
}
