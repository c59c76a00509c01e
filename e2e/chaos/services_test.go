//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sentryOf finds hobd's sentry.
func (p *project) sentryOf(d proc) (proc, bool) {
	text, err := os.ReadFile(p.path("sentry.pid"))
	var pid int
	if err != nil {
		return proc{}, false
	}
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return proc{}, false
	}
	s, ok := statOf(pid)
	if a := cmdline(pid); !ok || len(a) < 3 || a[1] != "sentry" {
		return proc{}, false
	}
	return s, true
}

func killSentry(p *project, d proc) {
	if s, ok := p.sentryOf(d); ok {
		s.signal(unix.SIGKILL)
	}
}

func pauseSentry(p *project, d proc) {
	if s, ok := p.sentryOf(d); ok {
		s.signal(unix.SIGSTOP)
		time.Sleep(time.Duration(p.rng.IntN(3000)) * time.Microsecond)
		s.signal(unix.SIGCONT)
	}
}

func killBoth(p *project, d proc) {
	s, ok := p.sentryOf(d)
	d.signal(unix.SIGKILL)
	if ok {
		s.signal(unix.SIGKILL)
	}
}

// restart has everything stopped by SIGTERM, and started again.
func restart(p *project, d proc) {
	d.signal(unix.SIGTERM)
	p.until(func() bool { return !d.lives() })
	p.startServices()
}

// startServices has a client start what is stopped, as often as it takes: the daemon may be on its way out.
func (p *project) startServices() {
	p.may.Add(1)
	var err error
	if !p.until(func() bool { err = p.tryStart("writer", "crasher"); return err == nil || p.ctx.Err() != nil }) {
		p.violated("%s: services can't be started: %v", p.kind.name, err)
	}
}

func (p *project) tryStart(names ...string) error {
	p.calls.Add(1)
	c, err := p.dial(true)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(p.background(), "service.start", map[string]any{"names": names}, nil)
}

// upgrade has hobd become the other of the two programs, in place, and meanwhile tries to take its lock, which must never be free.
func upgrade(p *project, d proc) {
	p.upgrades++
	program := filepath.Join(p.Bin, []string{"hobd", "hobd-next"}[p.upgrades%2])
	done := make(chan error, 1)
	go func() {
		done <- p.call("hob.upgrade", map[string]any{"program": program, "build": "devel", "nonce": fmt.Sprint(p.Seed, p.upgrades), "explicit": true}, nil)
	}()
	for {
		select {
		case err := <-done:
			if err != nil && !p.until(func() bool { return !d.lives() || p.ctx.Err() != nil }) { // else it was about to leave
				p.violated("%s: upgrade: %v", p.kind.name, err)
			}
			return
		case <-time.After(200 * time.Microsecond):
		}
		fd, err := unix.Open(p.lockPath(), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil && d.lives() {
			p.violated("%s: the lock was free during an upgrade of pid %d", p.kind.name, d.pid)
		}
		unix.Close(fd)
	}
}

// killUpgrading kills hobd somewhere on the way to being another program.
func killUpgrading(p *project, d proc) {
	program := filepath.Join(p.Bin, "hobd-next")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.call("hob.upgrade", map[string]any{"program": program, "build": "devel", "nonce": fmt.Sprint("k", rand.Uint64()), "explicit": true}, nil)
	}()
	time.Sleep(time.Duration(p.rng.IntN(40)) * time.Millisecond)
	d.signal(unix.SIGKILL)
	<-done
}

// lease holds a lease for longer than hobd waits for somebody who needs it, and then lets it leave.
func lease(p *project, _ proc) {
	c, err := p.dial(true)
	if err != nil {
		p.failed(err.Error())
		return
	}
	d, ok := statOf(c.Welcome().Pid)
	select {
	case <-c.Done():
		p.violated("%s: hobd has left, or hung up, although somebody has a lease (it lives: %v): %s", p.kind.name, ok && d.lives(), p.logTail())
	case <-time.After(time.Duration(150+p.rng.IntN(150)) * time.Millisecond):
	}
	c.Close()
	if p.rng.IntN(2) == 0 {
		p.until(func() bool { return !d.lives() || p.ctx.Err() != nil })
	} else {
		time.Sleep(time.Duration(50+p.rng.IntN(30)) * time.Millisecond) // about when it leaves
	}
}

// configure writes hob.toml and has it applied.
func (p *project) configure(toml string) error {
	if err := os.WriteFile(filepath.Join(p.dir, "hob.toml"), []byte(toml), 0o600); err != nil {
		return err
	}
	out, err := p.program(p.background(), "up")
	if err != nil {
		return fmt.Errorf("up: %w: %s", err, out)
	}
	return nil
}

// killService kills the service "crasher", and hobd in the same moment, perhaps; and has somebody start it again, as one would after so many
// failures.
func killService(daemon bool) func(*project, proc) {
	return func(p *project, d proc) {
		for _, pid := range allPids() {
			if s, ok := statOf(pid); ok && strings.HasPrefix(variable(pid, "HOB_ID"), p.id+"/crasher/") {
				s.signal(unix.SIGKILL)
			}
		}
		if daemon {
			d.signal(unix.SIGKILL)
		}
		p.until(func() bool { return p.tryStart("crasher") == nil || p.ctx.Err() != nil })
	}
}
