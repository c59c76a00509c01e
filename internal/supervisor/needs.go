package supervisor

import (
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// classifyStart turns a start into what follows from what the service needs. Somebody who asks for it is told
// that a need is down; a restart that nobody asked for waits: what it needs may be down only while it is replaced.
func (v *svc) classifyStart(ev event) event {
	spec := v.st.Spec
	if ev.spec != nil {
		spec = *ev.spec
	}
	if ev.lazy && spec.OnDemand() {
		ev.kind = evRest
		return ev
	}
	needs := spec.Needs
	open, down := v.sup.missing(needs)
	ev.patient = ev.auto && (ev.kind != evNeeds || v.patient)
	switch {
	case down != "" && ev.patient:
		ev.kind, ev.text = evStartLate, "for "+down
	case down != "":
		down = "needs " + down
		ev.kind, ev.text = evStartNever, down
	case open != "":
		ev.kind, ev.text = evStartLate, open
	default:
		ev.kind = evStart
	}
	return ev
}

// missing says which needs are not met: open ones may be met without anybody asking for it, one that
// is down may not.
func (s *Supervisor) missing(needs []service.Need) (open, down string) {
	var late []string
	for _, n := range needs {
		v, err := s.get(n.Name)
		if err != nil {
			return "", n.Name + ", which is not known"
		}
		st := v.status()
		switch {
		case n.For == service.NeedDone && st.State == service.Done && st.Want == service.Up,
			n.For != service.NeedDone && st.State.Up():
		case st.State.Pending(), st.State == service.Starting, st.State == service.Unready, st.State == service.Stopping && st.Want == service.Up,
			n.For == service.NeedDone && st.State.Up():
			late = append(late, n.Name)
		default:
			return "", n.Name + ", which is " + words(st)
		}
	}
	if len(late) > 0 {
		return "for " + strings.Join(late, ", "), ""
	}
	return "", ""
}

// wait takes the start in and goes on when the needs are met.
func (v *svc) wait(ev event) {
	v.accept(ev)
	v.st.Why = ev.text
}

// lack is a start that can't come to anything.
func (v *svc) lack(ev event) {
	v.accept(ev)
	v.st.Why = ev.text
}

// tellDependents lets those who wait for a service look again.
func (s *Supervisor) tellDependents(name string) {
	for _, v := range s.services() {
		if st := v.status(); st.State == service.Waiting && needs(st, name) {
			v.nudge()
		}
	}
}

func needs(st service.Status, name string) bool {
	for _, n := range st.Needs {
		if n.Name == name {
			return true
		}
	}
	return false
}

// nudge makes the service look at what it needs, soon and at least once from now.
func (v *svc) nudge() {
	select {
	case v.nudged <- struct{}{}:
	default:
	}
}
