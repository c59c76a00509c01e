package daemon

import (
	"context"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/hobworks/hob"
)

// watchdogTime is how often the manager wants to hear that this process is well, sd_watchdog_enabled(3); 0: never.
func watchdogTime() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0 // it is meant for somebody who has started this one
	}
	usec, err := strconv.ParseUint(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec > uint64(math.MaxInt64/time.Microsecond) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// again is how long after a look that hobd did not pass there is another one, at most.
const again = time.Second

// guardDog tells the manager at twice the rate that it wants that hobd is well, for the rest of its life. Nothing is told while that is
// not so.
func (m *manager) guardDog(every time.Duration) {
	for {
		pause := every / 2
		if m.well(every) {
			m.send("WATCHDOG=1")
		} else {
			pause = min(pause, again)
		}
		time.Sleep(pause)
	}
}

// well: a client gets its welcome from the socket, and every service can be asked for its state. hobd that is leaving answers nobody any more.
func (m *manager) well(within time.Duration) bool {
	m.list()
	if m.left() {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := hob.Probe(ctx, hob.Instance{Dir: m.inst.Root.Path})
	return err == nil || m.left()
}
