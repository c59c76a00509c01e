// Package process owns one OS process and its tree: it starts it, signals it, waits for it, adopts it by pid and
// start time, and ends all that came of it.
//
// It promises that a signal never reaches a stranger (pidfd first, identity second, signal third), that a leader
// which is our child stays unreaped until [Process.Release], so that its pid and group id cannot be given to
// another process meanwhile, and that [Process.Terminate] returns nil only after two looks at the whole process
// table found nothing left. A tree is the leader, its group and session, their descendants, whatever carries the
// same HOB_ID in its environment, and whatever holds one of the given files open.
//
// Linux 5.4 or later does all of it. On darwin there are no pidfds, no subreaper and no view of other processes'
// descriptors: identity is checked just before each signal, a leader is reaped at its exit, and a tree is found
// by group, session, descent and mark only.
//
// It never restarts anything, never waits for a process that it was not given (no wait4(-1)), never signals the
// calling process or its ancestors, and does not know what a service is.
package process
