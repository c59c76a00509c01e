//go:build linux

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// remove removes files of the instance, names below its directory or "LOCK", and waits until hobd has mended that.
func remove(names ...string) func(*project, proc) {
	return func(p *project, d proc) {
		for _, name := range names {
			_ = os.RemoveAll(p.named(name))
		}
		p.mended(d, names)
	}
}

// removeAndKill removes them and kills hobd at once.
func removeAndKill(names ...string) func(*project, proc) {
	return func(p *project, d proc) {
		for _, name := range names {
			_ = os.RemoveAll(p.named(name))
		}
		time.Sleep(time.Duration(p.rng.IntN(1000)) * time.Microsecond)
		d.signal(unix.SIGKILL)
	}
}

func (p *project) named(name string) string {
	if name == "LOCK" {
		return p.lockPath()
	}
	return filepath.Join(p.instance, name)
}

// mended: socket, pid file and lock are there again, and the lock is the one that hobd has open; or it is another hobd's turn.
func (p *project) mended(d proc, names []string) {
	for _, name := range names {
		ok := p.until(func() bool {
			if !d.lives() {
				return true
			}
			if name == "LOCK" {
				for _, path := range written(d.pid) {
					if path == p.lockPath() {
						return true
					}
				}
				return false
			}
			_, err := os.Lstat(p.named(name))
			return err == nil
		})
		if !ok {
			p.violated("%s: %s was removed, and hobd (pid %d) has not mended it in %v", p.kind.name, name, d.pid, p.Patience)
		}
	}
}

// fence removes the lock while hobd stands still. A daemon whose lock is gone must not say that it serves before it has another one, on a
// connection that it has, either: the question comes when the path is empty, and the answer must not come before there is a file again.
func fence(p *project, d proc) {
	var all [8]*asker
	for i := range all {
		a, err := p.connect()
		if err != nil {
			return
		}
		defer a.c.Close()
		_ = a.c.SetDeadline(time.Now().Add(p.Patience))
		if _, err := a.hello(); err != nil {
			return
		}
		all[i] = a
	}
	d.signal(unix.SIGSTOP)
	_ = os.Remove(p.lockPath())
	_, err := os.Lstat(p.lockPath())
	gone := os.IsNotExist(err)
	for _, a := range all {
		_ = a.askOnly(new(answer))
	}
	d.signal(unix.SIGCONT)
	for _, a := range all {
		err := a.answer(new(answer))
		if _, lerr := os.Lstat(p.lockPath()); gone && err == nil && os.IsNotExist(lerr) {
			p.violated("%s: hobd (pid %d) says welcome without a lock", p.kind.name, d.pid)
			break
		}
	}
	p.mended(d, []string{"LOCK"})
}

// robbed removes socket and lock while hobd stands still, so that clients meet nobody and a free lock.
func robbed(p *project, d proc) {
	d.signal(unix.SIGSTOP)
	_ = os.Remove(p.lockPath())
	_ = os.Remove(p.path("hob.sock"))
	time.Sleep(time.Duration(5+p.rng.IntN(25)) * time.Millisecond)
	d.signal(unix.SIGCONT)
	p.mended(d, []string{"LOCK", "hob.sock"})
}

// forge kills hobd and writes the pid of somebody who lives into its pid file.
func forge(p *project, d proc) {
	d.signal(unix.SIGKILL)
	_ = os.WriteFile(p.path("hob.pid"), []byte(fmt.Sprintln(os.Getpid())), 0o600)
}

// removeQuietly removes what nobody has to make again.
func removeQuietly(names ...string) func(*project, proc) {
	return func(p *project, _ proc) {
		for _, name := range names {
			_ = os.RemoveAll(p.named(name))
		}
	}
}
