// Package sentry is both sides of the small process that outlives a killed hobd: the [Keeper], with which hobd
// keeps one beside it, and the [Post], at which that process stands. [Relief] is what an orphaned sentry does, and when
// it gives up.
//
// The sentry has a read end of each service's FIFO, so that what a service wrote last is still there when the
// service and hobd are killed in the same instant, and it learns of hobd's end by the end of the socket that it
// was started with. It promises to keep what it was given until it is closed, whatever becomes of hobd, of the
// directories and of the FIFOs' names. While nothing happens neither side wakes up.
//
// The ends are opened read-only and never read: a reader is not a member of a service's tree, and takes no byte
// from the log. A sentry that does not read what it is sent is replaced, so a stopped one holds nobody up.
//
// It also has duplicates of files that the next hobd must have, listening sockets and the masters of terminals, and gives
// them to whoever comes to its door once hobd is gone, if it is the same user: the next hobd does, by [Collect].
//
// It never dials or starts a daemon, which the program around it does, takes no lock, and knows nothing of a service
// but its name.
package sentry
