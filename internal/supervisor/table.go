package supervisor

import (
	"fmt"
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// kind is what can happen to a service.
type kind int

// The events.
const (
	evStart   kind = iota // somebody wants it up
	evStop                // somebody wants it down
	evSettled             // it has lived for Settle
	evExitOK              // its first process ended with exit 0
	evExitBad             // its first process ended otherwise
	evGone                // its whole tree is gone
	evStuck               // its tree could not be ended
	evOrphan              // an orphan has ended, perhaps one of what is left of it
	kinds
)

var kindNames = [kinds]string{evStart: "start", evStop: "stop", evSettled: "settled", evExitOK: "exit 0",
	evExitBad: "exit other", evGone: "gone", evStuck: "stuck",
	evOrphan: "orphan"}

// event is what happened, with what is known of it.
type event struct {
	kind       kind
	generation int           // events of an earlier run are dropped; 0: not about a run
	spec       *service.Spec // with evStart: run this from now on
	killed     []int         // with evGone
	err        error         // with evStuck
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
	table = map[service.State][kinds]row{
		service.Stopped: {
			evStart: {service.Starting, (*svc).spawn},
		},
		service.Done: {
			evStart:  {service.Starting, (*svc).spawn},
			evStop:   {service.Done, (*svc).stopRest}, // stopping, when something of its tree is left
			evOrphan: {service.Done, (*svc).lookForRest},
		},
		service.Failed: {
			evStart:  {service.Starting, (*svc).spawn},
			evStop:   {service.Failed, (*svc).stopRest},
			evOrphan: {service.Failed, (*svc).lookForRest},
		},
		service.Starting: {
			evStop:    {service.Stopping, (*svc).terminate},
			evSettled: {service.Running, (*svc).settle},
			evExitOK:  {service.Done, (*svc).ended},
			evExitBad: {service.Failed, (*svc).ended},
		},
		service.Running: {
			evStop:    {service.Stopping, (*svc).terminate},
			evExitOK:  {service.Done, (*svc).ended},
			evExitBad: {service.Failed, (*svc).ended},
		},
		service.Stopping: {
			evStart: {service.Stopping, (*svc).startAgain},
			evStop:  {service.Stopping, (*svc).stopForGood},
			evGone:  {service.Stopped, (*svc).gone},
			evStuck: {service.Failed, (*svc).stuck},
		},
	}
}

// Table prints the table, for the documentation.
func Table() string {
	var b strings.Builder
	for _, from := range []service.State{service.Stopped, service.Starting, service.Running, service.Stopping, service.Done, service.Failed} {
		for k, r := range table[from] {
			if r.do != nil {
				fmt.Fprintf(&b, "%-9s × %-10s → %s\n", from, kindNames[k], r.to)
			}
		}
	}
	return b.String()
}
