// Package sentry is both sides of the small process that outlives a killed hobd: the [Keeper], with which hobd
// keeps one beside it, and the [Post], at which that process stands.
//
// The sentry has a read end of each service's FIFO, so that what a service wrote last is still there when the
// service and hobd are killed in the same instant, and it learns of hobd's end by the end of the socket that it
// was started with. It promises to keep what it was given until it is closed, whatever becomes of hobd, of the
// directories and of the FIFOs' names. While nothing happens neither side wakes up.
//
// The ends are opened read-only and never read: a reader is not a member of a service's tree, and takes no byte
// from the log. hobd may be as short of time as it likes: a sentry that does not read what it is sent is replaced.
//
// It never starts or dials a daemon, takes no lock, and knows a service by name only: what to do about a hobd that
// is gone is for the program around it to decide.
package sentry
