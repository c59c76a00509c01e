package lock

import "golang.org/x/sys/unix"

// CLOCK_MONOTONIC counts suspend here, clock_gettime(3).
const clockBoot = unix.CLOCK_MONOTONIC
