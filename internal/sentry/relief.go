package sentry

import (
	"log/slog"
	"strings"
	"time"
)

// Need is why a hobd is needed.
type Need int

// The needs.
const (
	Nothing Need = iota // nothing lives and nothing is to be started, or another sentry sees to it
	Waiting             // nothing lives, and something is to be started, or nobody can tell
	Living              // something of a service lives
)

// Relief brings the next hobd, for a sentry whose own is gone. All but Failed and HeadStart are required.
type Relief struct {
	// Need is asked before each try.
	Need func() Need

	// Call returns nil when a hobd has taken over and has a sentry of its own. With start it starts one where
	// there is none. failed counts the failures in a row so far.
	Call func(start bool, failed int) error

	Log *slog.Logger

	Failed    int           // hobds that failed before, one after the other: the first try waits for as many
	HeadStart time.Duration // that somebody else has to start the next one
}

const (
	// giveUp is when a sentry leaves that could not bring a hobd back, and holds nobody's FIFO.
	giveUp = 10 * time.Minute

	// looks is how often it looks for a hobd that somebody else starts.
	looks = 50 * time.Millisecond
)

// Run blocks until a hobd has taken over, which it reports, or there is no need of one any more. While something
// lives it goes on for ever: at once, and after each failure a while later, half a minute in the end.
func (r Relief) Run() bool {
	began := time.Now()
	for time.Since(began) < r.HeadStart && r.Need() != Nothing {
		if r.Call(false, 0) == nil {
			return true
		}
		time.Sleep(looks)
	}
	said := error(nil)
	for failed := r.Failed; ; failed++ {
		if r.over(began) || r.overAfter(Delay(failed), began) {
			r.Log.Info("nobody needs hobd, or this sentry", "waited", time.Since(began).Round(time.Millisecond))
			return false
		}
		err := r.Call(true, failed)
		if err == nil {
			r.Log.Info("hobd is back", "after", time.Since(began).Round(time.Millisecond))
			return true
		}
		// One line for each reason: there may be a try every half minute for days.
		if reason(err) != reason(said) {
			r.Log.Error("bring hobd back", "err", err)
		}
		said = err
	}
}

// over reports that there is no need of a hobd, or that the sentry has waited long enough for nothing that lives.
func (r Relief) over(began time.Time) bool {
	need := r.Need()
	return need == Nothing || need == Waiting && time.Since(began) >= giveUp
}

func (r Relief) overAfter(d time.Duration, began time.Time) bool {
	if d <= 0 {
		return false
	}
	time.Sleep(d)
	return r.over(began)
}

// reason is an error without what tells one time from the other: a pid, or for how long it will be so.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return -1
		}
		return c
	}, err.Error())
}
