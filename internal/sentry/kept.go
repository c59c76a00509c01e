package sentry

import (
	"errors"
	"io/fs"
	"log/slog"

	"golang.org/x/sys/unix"
)

// end is the read end of a service's FIFO. hobd has it open too: a new sentry gets it even if the FIFO has no name
// any more.
type end struct {
	number uint32
	fd     int
	id     fileID
}

// kept are the ends, by service.
type kept struct {
	log  *slog.Logger
	ends map[string]end
	last uint32 // number
}

// change is what the sentry has to be told.
type change struct {
	frame frame
	fd    int
	done  func() // to be called when it was sent
}

// follow makes the ends those of fifos and gives what has changed.
func (k *kept) follow(fifos map[string]string) []change {
	var changes []change
	for name, e := range k.ends {
		if _, ok := fifos[name]; !ok {
			delete(k.ends, name)
			changes = append(changes, e.dropped())
		}
	}
	for name, path := range fifos {
		old, had := k.ends[name]
		e, changed := k.open(path, old)
		if !changed {
			continue
		}
		k.last++
		e.number = k.last
		k.ends[name] = e
		changes = append(changes, change{frame{opHold, e.number}, e.fd, func() {}})
		if had {
			changes = append(changes, old.dropped())
		}
	}
	return changes
}

func (e end) dropped() change {
	return change{frame{opDrop, e.number}, -1, func() { unix.Close(e.fd) }}
}

// open opens the FIFO if it is another one than old. One that has lost its name is kept as it is: a service that
// runs still writes to it.
func (k *kept) open(path string, old end) (e end, changed bool) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || old.fd > 0 && idOf(&st) == old.id {
		return old, false
	}
	fd, id, err := openEnd(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.log.Error("open a FIFO for the sentry", "err", err)
		}
		return old, false
	}
	return end{fd: fd, id: id}, true
}

func (k *kept) close() {
	for name, e := range k.ends {
		unix.Close(e.fd)
		delete(k.ends, name)
	}
}
