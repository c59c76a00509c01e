package process

import "time"

// canFreeze: darwin does not tell when every thread of a process has stopped.
const canFreeze = false

const stillPause = time.Millisecond

func threadsStill(int) (state byte, still bool) { return 0, false }
