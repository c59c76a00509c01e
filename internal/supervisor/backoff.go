package supervisor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hobworks/hob/internal/service"
)

// The numbers of a restart policy.
const (
	provenAfter = 10 * time.Second // a run that was up for so long was productive
	firstDelay  = 100 * time.Millisecond
	maxDelay    = 10 * time.Second
	startLimit  = 5 // unproductive runs within limitWindow, and no other follows
	limitWindow = time.Minute
	impatient   = time.Second // the longest delay while connections wait
)

// verdict is what a restart policy makes of the end of a run.
type verdict struct {
	again   bool
	delay   time.Duration
	limited bool // it would be started again if that had not failed so often
}

// ending is what is known of the end of a run.
type ending struct {
	ok         bool // exit 0
	productive bool // it took a connection off the socket that is held for it
	waiting    bool // connections wait there
}

// barren: it left by itself although somebody waits. That is no end, and starting it again at once would never be one.
func (e ending) barren() bool { return e.ok && e.waiting && !e.productive }

// judge counts the end of a run, at the time now, and applies the policy. jitter is in [0, 1).
func judge(st *service.Status, e ending, now time.Time, jitter float64) verdict {
	wanted := st.Restart == service.RestartAlways || st.Restart != service.RestartNo && !e.ok || e.barren()
	if !wanted {
		return verdict{}
	}
	if e.productive || !st.ReadyAt.IsZero() && now.Sub(st.ReadyAt) >= provenAfter && !e.barren() {
		forgive(st)
	} else {
		st.Failures = slices.DeleteFunc(slices.Clone(st.Failures), func(t time.Time) bool {
			ago := now.Sub(t)
			return ago >= limitWindow || ago < 0 // the clock was set back since an earlier hobd has written that
		})
		st.Failures = append(st.Failures, now)
	}
	if len(st.Failures) >= startLimit {
		return verdict{limited: true}
	}
	st.Tries++
	v := verdict{again: true, delay: delay(st.Tries, jitter)}
	if e.waiting {
		v.delay = min(v.delay, impatient)
	}
	return v
}

// forgive forgets the failures.
func forgive(st *service.Status) { st.Tries, st.Failures = 0, nil }

// delay is none before the first try, then 0.1 s doubling to 10 s, a quarter more or less: services
// that failed together, for the same reason, do not try again together.
func delay(try int, jitter float64) time.Duration {
	if try <= 1 {
		return 0
	}
	d := maxDelay
	if n := try - 2; n < 7 {
		d = min(d, firstDelay<<n)
	}
	return time.Duration(float64(d) * (0.75 + jitter/2))
}

// classifyExit turns the end of a run into what follows from it.
func (v *svc) classifyExit(ok bool) kind {
	e := ending{ok: ok, productive: v.productive(), waiting: v.waiting()}
	v.barren = e.barren()
	final := evExitBad
	switch {
	case ok && v.front.sock != nil:
		final = evExitRest
	case ok:
		final = evExitOK
	}
	if v.trial && v.st.ReadyAt.IsZero() {
		return final
	}
	switch is := judge(&v.st, e, time.Now(), rand.Float64()); {
	case is.limited:
		v.limited = true
		return evExitBad
	case !is.again:
		return final
	case is.delay == 0:
		return evExitOnce
	default:
		v.st.NextTry = time.Now().Add(is.delay).UTC()
		return evExitLater
	}
}

// sayLimit adds why no other run follows.
func (v *svc) sayLimit() {
	if v.limited {
		v.st.Why += fmt.Sprintf("; %d runs failed within %v, not started again", len(v.st.Failures), limitWindow)
		v.limited = false
	}
}

// respawn is the first restart: at once, if all that the service needs is there.
func (v *svc) respawn(ev event) {
	v.ended(ev)
	v.startFrom(service.Backoff, event{auto: true})
}

// startFrom does what a start does in another state, within the step that led there.
func (v *svc) startFrom(state service.State, ev event) {
	ev = v.classifyStart(ev)
	r := table[state][ev.kind]
	v.st.State = r.to
	r.do(v, ev)
}

// schedule waits for the next try.
func (v *svc) schedule(ev event) {
	v.ended(ev)
	v.retryLater()
}

// retryLater waits for NextTry; not for long, if an earlier hobd has written that, and the clock was set back since.
func (v *svc) retryLater() {
	if most := time.Now().Add(maxDelay * 5 / 4).UTC(); v.st.NextTry.After(most) {
		v.st.NextTry = most
	}
	ev := event{kind: evRetry, generation: v.st.Generation}
	time.AfterFunc(time.Until(v.st.NextTry), func() { v.post(ev) })
}

// prove is for a run that was up long enough.
func (v *svc) prove(event) { forgive(&v.st) }

func (v *svc) proveLater() {
	if v.st.Tries == 0 && len(v.st.Failures) == 0 {
		return
	}
	ev := event{kind: evProven, generation: v.st.Generation}
	time.AfterFunc(provenAfter, func() { v.post(ev) })
}
