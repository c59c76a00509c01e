//go:build linux

package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fault is one kind. apply is called while the daemon d serves and clients call, at a random moment; the driver then has a client call,
// which must succeed, before it is counted. weight is how often it is chosen.
type fault struct {
	name   string
	weight int
	apply  func(p *project, d proc)
}

// drive applies faults, one after the other, as the seed says.
func (p *project) drive() {
	sum := 0
	for _, f := range p.kind.faults {
		sum += f.weight
	}
	for p.ctx.Err() == nil {
		d, ok := p.reach()
		if !ok {
			p.pause(5 * time.Millisecond)
			continue
		}
		at := p.rng.IntN(sum)
		var f fault
		for _, f = range p.kind.faults {
			if at -= f.weight; at < 0 {
				break
			}
		}
		if p.rng.IntN(2) == 0 {
			p.pause(time.Duration(p.rng.IntN(1500)) * time.Microsecond)
		}
		began := time.Now()
		f.apply(p, d)
		if _, ok := p.reach(); ok {
			p.count(f.name, time.Since(began))
		}
	}
}

func send(sig unix.Signal) func(*project, proc) {
	return func(_ *project, d proc) { d.signal(sig) }
}

// pauseDaemon stops hobd and lets it go on: SIGSTOP, SIGCONT.
func pauseDaemon(p *project, d proc) {
	d.signal(unix.SIGSTOP)
	time.Sleep(time.Duration(p.rng.IntN(4000)) * time.Microsecond)
	d.signal(unix.SIGCONT)
}

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

// killStarting kills hobd, and the next one while it starts or just has.
func killStarting(p *project, d proc) {
	d.signal(unix.SIGKILL)
	for deadline := time.Now().Add(50 * time.Millisecond); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		if next, ok := p.starting(d.pid); ok {
			time.Sleep(time.Duration(p.rng.IntN(8000)) * time.Microsecond)
			next.signal(unix.SIGKILL)
			return
		}
	}
}

// starting finds a hobd of this project other than the one that is gone.
func (p *project) starting(gone int) (proc, bool) {
	for _, pid := range allPids() {
		if pid <= gone && pid+5000 > gone {
			continue
		}
		if a := cmdline(pid); len(a) > 2 && filepath.Base(a[0]) == "hobd" && a[1] == "--project" && a[2] == p.dir {
			return statOf(pid)
		}
	}
	return proc{}, false
}

// killClient kills hobd, has a hob start the next one, and kills that hob somewhere on the way.
func killClient(p *project, d proc) {
	d.signal(unix.SIGKILL)
	cmd := exec.Command(filepath.Join(p.Bin, "hob"), "daemon", "start")
	cmd.Dir, cmd.Env = p.dir, p.env
	if cmd.Start() != nil {
		return
	}
	time.Sleep(time.Duration(p.rng.IntN(12000)) * time.Microsecond)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// stopByCall has hobd leave as "hob daemon stop" does, or with keep leave what it runs.
func stopByCall(method string) func(*project, proc) {
	return func(p *project, _ proc) {
		_ = p.call(method, map[string]any{"reason": "chaos", "client": "chaos"}, nil)
	}
}

// call is a raw call; a connection that ends meanwhile is an error.
func (p *project) call(method string, params, result any) error {
	c, err := net.DialTimeout("unix", p.path("hob.sock"), p.Patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(p.Patience))
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	if _, err := c.Write(append(text, '\n')); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return err
	}
	var m struct {
		Error  *struct{ Message string }
		Result json.RawMessage
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return err
	}
	if m.Error != nil {
		return fmt.Errorf("%s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

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
				for _, path := range opened(d.pid) {
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
			if err != nil && d.lives() && p.kind.disk == "" && p.ctx.Err() == nil {
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

// full fills the disk, or uses up its inodes, while clients call; and empties it again.
func full(inodes, kill bool) func(*project, proc) {
	return func(p *project, d proc) {
		p.mute.Add(1)
		undo := p.fill(inodes)
		if kill {
			d.signal(unix.SIGKILL)
		}
		time.Sleep(time.Duration(5+p.rng.IntN(20)) * time.Millisecond)
		p.reach()
		undo()
		p.mute.Add(-1)
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

// removeQuietly removes what nobody has to make again.
func removeQuietly(names ...string) func(*project, proc) {
	return func(p *project, _ proc) {
		for _, name := range names {
			_ = os.RemoveAll(p.named(name))
		}
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
