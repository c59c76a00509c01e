package sentry

import (
	"math/rand/v2"
	"time"
)

const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 30 * time.Second
)

// Delay is how long to wait before try number n of something that failed, counted from 0: the first is made at
// once, then come 0.1 s doubling to 30 s, a quarter more or less.
func Delay(n int) time.Duration { return delay(n, rand.Float64()) }

// delay is Delay with a jitter in [0, 1).
func delay(n int, jitter float64) time.Duration {
	if n <= 0 {
		return 0
	}
	d := maxDelay
	if n <= 8 {
		d = min(d, firstDelay<<(n-1))
	}
	return time.Duration(float64(d) * (0.75 + jitter/2))
}
