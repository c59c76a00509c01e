package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// ID names one process for ever: pids are used again, a pid with its start time within one boot is not.
// It is what is written to disk. The zero ID names nothing and is never alive.
type ID struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // as in Info.Start
	Boot  string `json:"boot"`
}

// Identify returns the ID of the process that has the pid now, a zombie included. The error wraps os.ErrNotExist
// when there is none. A pid is only meaningful within one pid namespace: compare [PidNamespace] first where the
// pid came from another process.
func Identify(pid int) (ID, error) {
	boot, err := BootID()
	if err != nil {
		return ID{}, err
	}
	info, err := Stat(pid)
	if err != nil {
		return ID{}, err
	}
	return ID{Pid: pid, Start: info.Start, Boot: boot}, nil
}

// Alive reports whether that very process still runs: same boot, pid and start time, and not a zombie. What
// cannot be read counts as not alive. The answer may be old as soon as it is given: to signal, use a [Process].
func (id ID) Alive() bool {
	info, err := id.look()
	return err == nil && !info.Dead()
}

// look is Stat of this process and no other; os.ErrProcessDone when the pid is free or is somebody else's.
func (id ID) look() (Info, error) {
	boot, err := BootID()
	if err != nil {
		return Info{}, err
	}
	if id.Pid <= 0 || id.Boot != boot {
		return Info{}, fmt.Errorf("identify pid %d: started before this boot: %w", id.Pid, os.ErrProcessDone)
	}
	info, err := Stat(id.Pid)
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, fmt.Errorf("identify pid %d: %w", id.Pid, os.ErrProcessDone)
	}
	if err != nil {
		return Info{}, err
	}
	if info.Start != id.Start {
		return Info{}, fmt.Errorf("identify pid %d: the pid belongs to another process (%s) now: %w", id.Pid, info.Command, os.ErrProcessDone)
	}
	return info, nil
}

// BootID returns the name of this boot of the machine. It is read once; safe for concurrent use.
func BootID() (string, error) { return bootID() }

var bootID = sync.OnceValues(readBootID)
