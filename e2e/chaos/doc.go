// Package chaos has real clients, services and daemons of several projects run into thousands of faults, and a witness
// look on that shares no code with hob. It exports nothing, and never calls a daemon fine that it has not asked itself.
package chaos
