package supervisor

import (
	"fmt"
	"strings"
	"time"

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
	evRest                   // somebody wants it up, and the first connection is to start it
	evConnect                // a connection waits; where that starts the service it becomes a start
	evLook                   // it is time to look whether anybody needs it
	evLease                  // somebody needs it as long as a process lives
	evLeaseOver              // that process has ended
	evLetGo                  // its socket is not to be held any more
	evNeeds                  // something may have changed about what it needs; becomes a start
	evRetry                  // the back-off is over; becomes a start
	evSpec                   // the file says something else that takes no restart
	evStop                   // somebody wants it down
	evRestart                // somebody wants another run, whatever there is
	evSettled                // it has lived for Settle
	evReady                  // it is ready
	evUnready                // it was not ready in time, or somebody else answers in its place
	evProven                 // it has been up for provenAfter
	evStatus                 // it says what it is doing, sd_notify(3)
	evChecked                // an alive check has been made
	evSick                   // so many of them in a row have failed
	evWell                   // the last one has not, after that
	evExit                   // its first process ended; becomes one of the next five
	evExitOK                 // with exit 0, and that is the end
	evExitRest               // with exit 0, and the next connection starts it again
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
	evRest:       "start, on demand",
	evConnect:    "a connection waits",
	evLook:       "time to look",
	evLease:      "lease",
	evLeaseOver:  "lease over",
	evLetGo:      "socket given up",
	evChecked:    "alive check",
	evSick:       "alive checks fail",
	evWell:       "alive again",
	evSpec:       "new settings",
	evStop:       "stop",
	evRestart:    "restart",
	evSettled:    "lived 300 ms",
	evReady:      "ready",
	evUnready:    "not ready",
	evProven:     "up for 10 s",
	evStatus:     "says its status",
	evExitOK:     "exit 0",
	evExitRest:   "exit 0, on demand",
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
	generation int             // events of an earlier run are dropped; 0: not about a run
	spec       *service.Spec   // with evStart, evRestart and evSpec: this from now on
	env        []string        // with evStart and evRestart: this environment from now on, if there is no spec; nil: no other one
	idle       *time.Duration  // with evSpec, without a spec: this from now on
	trial      bool            // with evStart: a run that ends before it is up is not followed by another
	auto       bool            // with evStart: nobody asked, it is a restart
	patient    bool            // with the starts: wait also for what is down
	demand     bool            // with evStart: a connection asked
	lazy       bool            // with evStart: if it is on demand, its socket is enough
	asked      bool            // with evRestart: also where somebody wants it down
	hold       bool            // with evRestart: whoever sends it sends evStart later; if hobd ends before, the next one starts the run
	down       bool            // with evRestart: only where none runs by now, else it is evSpec
	free       bool            // with evNeeds: one that was held while the file was applied is not any more
	found      service.Address // with evReady: where it was found to listen
	lease      service.Lease   // with evLease and evLeaseOver
	by         *checker        // with evChecked, evSick and evWell
	since      time.Time       // with evChecked: when it was begun
	text       string          // with evStatus, and with the starts that something is missing for
	over       *bool           // with evLetGo: set when the service is down, and then it is never started again; only for the first who asks; may be nil
	killed     []int           // with evGone
	err        error           // with evStuck, evUnready and evSick
	done       chan struct{}   // closed when the event was dealt with; may be nil
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
			evConnect:   {s, (*svc).arrive},
			evLook:      {s, (*svc).look}, // stopping, when nobody does
			evLease:     {s, (*svc).lend},
			evLeaseOver: {s, (*svc).lapse},
			evChecked:   {s, (*svc).checked},
			evSick:      {service.Unready, (*svc).sicken},
			evSpec:      {s, (*svc).adjust},
			evStop:      {service.Stopping, (*svc).terminate},
			evRestart:   {service.Stopping, (*svc).restart},
			evProven:    {s, (*svc).prove},
			evStatus:    {s, (*svc).say},
			evExitOK:    {service.Done, (*svc).ended},
			evExitRest:  {service.Idle, (*svc).restAgain},
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
			evRest:       {service.Idle, (*svc).rest},
			evLease:      {s, (*svc).lend},
			evLeaseOver:  {s, (*svc).lapse},
			evLetGo:      {s, (*svc).letGo},
			evSpec:       {s, (*svc).adjust},
			evStop:       {s, (*svc).stopRest}, // stopping, when something of its tree is left
			evRestart:    {s, (*svc).renew},
			evOrphan:     {s, (*svc).lookForRest},
		}
	}
	starting := up(service.Starting)
	starting[evSettled] = row{service.Running, (*svc).settle}
	starting[evReady] = row{service.Ready, (*svc).settle}
	starting[evUnready] = row{service.Stopping, (*svc).giveUp}
	starting[evProven], starting[evLook], starting[evChecked], starting[evSick] = row{}, row{}, row{}, row{}
	unready := up(service.Unready)
	unready[evWell] = row{service.Ready, (*svc).recovered} // running, where it declares no readiness
	// These wait for a start that evStop takes back.
	pending := func(s service.State) [kinds]row {
		rows := down(s)
		rows[evStop].to = service.Stopped
		return rows
	}
	waiting, backoff, idle := pending(service.Waiting), pending(service.Backoff), pending(service.Idle)
	waiting[evStop].do = (*svc).takeBack
	backoff[evConnect] = row{service.Backoff, (*svc).hasten}
	idle[evLetGo].to = service.Stopped
	table = map[service.State][kinds]row{
		service.Stopped:  down(service.Stopped),
		service.Idle:     idle,
		service.Waiting:  waiting,
		service.Starting: starting,
		service.Ready:    up(service.Ready),
		service.Running:  up(service.Running),
		service.Unready:  unready,
		service.Backoff:  backoff,
		service.Done:     down(service.Done),
		service.Failed:   down(service.Failed),
		service.Stopping: {
			evStart:      {service.Stopping, (*svc).startAgain},
			evStartLate:  {service.Stopping, (*svc).startAgain},
			evStartNever: {service.Stopping, (*svc).startAgain},
			evRest:       {service.Stopping, (*svc).startAgain},
			evLease:      {service.Stopping, (*svc).lend},
			evLeaseOver:  {service.Stopping, (*svc).lapse},
			evSpec:       {service.Stopping, (*svc).adjust},
			evStop:       {service.Stopping, (*svc).stopForGood},
			evRestart:    {service.Stopping, (*svc).stopToRestart},
			evGone:       {service.Stopped, (*svc).gone}, // idle, when nobody asked for the stop
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
