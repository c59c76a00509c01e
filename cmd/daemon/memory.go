package daemon

import (
	"runtime/debug"
	"time"
)

const (
	// quiet is how long nothing has to happen until memory is given back: long beside a burst, short beside a day.
	quiet = 3 * time.Second

	// collectAt is the heap's growth, in per cent, at which it is collected: with Go's 100, what a start of a hundred services allocates
	// is collected a dozen times during it. What that takes is given back.
	collectAt = 200
)

// memory is what a burst of work takes from the system and nobody needs afterwards. Go would give it back over minutes, with wake-ups; a hobd that has
// nothing to do for days is to have none.
type memory struct{ timer *time.Timer }

func newMemory() memory {
	debug.SetGCPercent(collectAt)
	return memory{time.AfterFunc(quiet, debug.FreeOSMemory)}
}

// used is called when something has been done.
func (m memory) used() { m.timer.Reset(quiet) }
