// Package e2e tests hob as its users have it: the two programs, built as they are released but
// for the fault points, in directories of their own, with real processes and real sockets. It
// exports nothing.
package e2e
