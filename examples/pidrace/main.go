// Pidrace shows why a lock file must not be deleted: three real processes go through two schedules in which each of them does what
// looks right, and in the end two have the lock. Then they go through the same schedules with hob's lock. It works in a directory of its
// own, and never leaves anything there.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
)

func main() {
	if os.Getenv(workerEnv) != "" {
		os.Exit(work(os.Stdin, os.Stdout))
	}
	if err := show(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pidrace:", err)
		os.Exit(1)
	}
}

// act is what one process does next.
type act struct {
	who  string // A, B or C
	what string // a command of work
}

// schedule is who does what, one after the other.
type schedule struct {
	name string
	acts []act
}

// schedules are the two orders in which a process can end its work: it lets go of the file and removes it, or the other way round. B comes in
// between, and C afterwards.
var schedules = []schedule{
	{"unlink, then unlock", []act{
		{"A", doOpen}, {"A", doLock}, // A works
		{"B", doOpen},
		{"A", doUnlink}, {"A", doUnlock}, // A is done
		{"B", doLock},
		{"C", doOpen}, {"C", doLock},
	}},
	{"unlock, then unlink", []act{
		{"A", doOpen}, {"A", doLock},
		{"A", doUnlock},
		{"B", doOpen}, {"B", doLock},
		{"A", doUnlink},
		{"C", doOpen}, {"C", doLock},
	}},
}

// hobs is s with hob's lock: locking is internal/lock's, and nobody removes the file.
func (s schedule) hobs() schedule {
	h := schedule{s.name + ", with hob's lock, which is never removed", slices.Clone(s.acts)}
	for i, a := range h.acts {
		switch a.what {
		case doLock:
			h.acts[i].what = doHobLock
		case doUnlink:
			h.acts[i].what = doKeep
		}
	}
	return h
}

// show performs all of them.
func show(w io.Writer) error {
	for _, s := range schedules {
		for _, s := range []schedule{s, s.hobs()} {
			holders, err := perform(w, s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintf(w, "  => %s\n\n", verdict(holders))
		}
	}
	return nil
}

func verdict(holders []string) string {
	switch len(holders) {
	case 0:
		return "nobody holds the lock"
	case 1:
		return "one worker holds the lock: " + holders[0]
	case 2:
		return fmt.Sprintf("two workers hold the lock: %s and %s", holders[0], holders[1])
	}
	return fmt.Sprintf("%d workers hold the lock: %v", len(holders), holders)
}
