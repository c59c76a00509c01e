package sentry

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// end is the read end of a service's FIFO. hobd has it open too: a new sentry gets it even if the FIFO has no name
// any more.
type end struct {
	number uint32
	fd     int
	id     fileID
}

// kept are the ends, by service, and the files, by name.
type kept struct {
	log   *slog.Logger
	ends  map[string]end
	files map[string]end
	last  uint32 // number
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
		changes = append(changes, e.held(""))
		if had {
			changes = append(changes, old.dropped())
		}
	}
	return changes
}

// followFiles is follow for files with a name. Those that are not kept already are taken over, the others closed. A nil one is there and could not be
// had: what is kept under its name stays.
func (k *kept) followFiles(files map[string]*os.File) []change {
	var changes []change
	for name, e := range k.files {
		if _, there := files[name]; !there {
			delete(k.files, name)
			changes = append(changes, e.dropped())
		}
	}
	for name, f := range files {
		old, had := k.files[name]
		if f == nil {
			if !had {
				k.log.Error("keep a file for the next hobd: it can't be duplicated", "file", name)
			}
			continue
		}
		e, err := duplicate(f)
		f.Close()
		switch {
		case err != nil || len(name) > maxName:
			k.log.Error("keep a file for the next hobd", "file", name, "err", err)
			continue
		case had && e.id == old.id:
			unix.Close(e.fd)
			continue
		}
		k.last++
		e.number = k.last
		k.files[name] = e
		changes = append(changes, e.held(name))
		if had {
			changes = append(changes, old.dropped())
		}
	}
	return changes
}

// duplicate gives an end for a file.
func duplicate(f *os.File) (e end, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return e, err
	}
	if cerr := conn.Control(func(fd uintptr) {
		var st unix.Stat_t
		if err = unix.Fstat(int(fd), &st); err != nil {
			return
		}
		e.id = idOf(&st)
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			e.id.pty = ptyNumber(int(fd))
		}
		e.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return e, cerr
	}
	return e, err
}

// held tells the sentry to keep it.
func (e end) held(name string) change {
	return change{frame{op: opHold, n: e.number, name: name}, e.fd, func() {}}
}

func (e end) dropped() change {
	return change{frame{op: opDrop, n: e.number}, -1, func() { unix.Close(e.fd) }}
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
	for _, all := range []map[string]end{k.ends, k.files} {
		for name, e := range all {
			unix.Close(e.fd)
			delete(all, name)
		}
	}
}
