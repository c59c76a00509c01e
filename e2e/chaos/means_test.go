//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// starve leaves hobd no descriptor for a while: prlimit(2).
func starve(p *project, d proc) {
	var was unix.Rlimit
	if unix.Prlimit(d.pid, unix.RLIMIT_NOFILE, nil, &was) != nil {
		return
	}
	none := unix.Rlimit{Cur: 3, Max: was.Max}
	if unix.Prlimit(d.pid, unix.RLIMIT_NOFILE, &none, nil) != nil {
		return
	}
	time.Sleep(time.Duration(p.rng.IntN(5000)) * time.Microsecond)
	if d.lives() {
		_ = unix.Prlimit(d.pid, unix.RLIMIT_NOFILE, &was, nil)
	}
}

// full fills the disk, or uses up its inodes, while clients call; and empties it again.
func full(inodes, kill bool) func(*project, proc) {
	return func(p *project, d proc) {
		p.outages.Add(1)
		undo := p.fill(inodes)
		if kill {
			d.signal(unix.SIGKILL)
		}
		time.Sleep(time.Duration(5+p.rng.IntN(20)) * time.Millisecond)
		p.reach()
		undo()
		p.outages.Add(1)
	}
}

// fill takes what is left of the file system.
func (p *project) fill(inodes bool) (undo func()) {
	dir := filepath.Join(p.state, "full")
	_ = os.Mkdir(dir, 0o700)
	if inodes {
		for i := range 10000 {
			f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(i)), os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				break
			}
			f.Close()
		}
	} else if f, err := os.Create(filepath.Join(dir, "bytes")); err == nil {
		for _, size := range []int{1 << 20, 1 << 16, 1 << 12} {
			for buf := make([]byte, size); ; {
				if _, err := f.Write(buf); err != nil {
					break
				}
			}
		}
		f.Close()
	}
	return func() { _ = os.RemoveAll(dir) }
}

// mountDisk gives the project a small file system for its state. It reports false where that can't be had.
func (p *project) mountDisk() (bool, error) {
	if err := os.Mkdir(p.state, 0o700); err != nil {
		return false, err
	}
	if err := unix.Mount("tmpfs", p.state, "tmpfs", 0, "mode=0700,"+p.kind.disk); err != nil {
		fmt.Println("         no full disk: a file system can't be mounted here")
		return false, nil
	}
	return true, nil
}

// slowDown has hobd run under strace(1), which holds it up for a random time at system calls by which a daemon takes its place or leaves it:
// races whose windows are microseconds wide are wide open then.
func (p *project) slowDown() (bool, error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		fmt.Println("         no delays at system calls: there is no strace")
		return false, nil
	}
	var cases strings.Builder
	const variants = 32
	calls := p.kind.strace
	for i := range variants {
		call := calls[p.rng.IntN(len(calls))]
		at := []string{"delay_enter", "delay_exit"}[p.rng.IntN(2)]
		every := 1 + p.rng.IntN(4)
		fmt.Fprintf(&cases, "%d) how=%s:%s=%d:when=%d+%d ;;\n", i, call, at, 200+p.rng.IntN(2800), 1+p.rng.IntN(every), every)
	}
	path := filepath.Join(p.Base, "hobd-"+p.kind.name)
	text := fmt.Sprintf(`#!/bin/sh
case "$1" in --project) ;; *) exec %s "$@" ;; esac
[ -z "$HOB_SELFTEST" ] || exec %s "$@"
case $(( $$ %% %d )) in
%sesac
exec %s -D -f -qq -o /dev/null -e trace=${how%%%%:*} -e inject=$how %s "$@"
`, p.hobd, p.hobd, variants, cases.String(), strace, p.hobd)
	p.hobd = path
	return true, os.WriteFile(path, []byte(text), 0o700)
}

// untraced is for a fault that ends hobd: its strace, which follows services as well, ends then, too. One that was
// about to hold a thread up when that was killed would keep it, and with it the lock, for ever.
func untraced(f func(*project, proc)) func(*project, proc) {
	return func(p *project, d proc) {
		var tracer int
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
		if _, rest, ok := strings.Cut(string(status), "TracerPid:"); ok {
			_, _ = fmt.Sscan(rest, &tracer)
		}
		t, ok := statOf(tracer)
		f(p, d)
		if !ok {
			return
		}
		go func() {
			for deadline := time.Now().Add(500 * time.Millisecond); d.lives() && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
			t.signal(unix.SIGKILL)
		}()
	}
}
