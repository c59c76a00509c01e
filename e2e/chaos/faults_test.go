//go:build linux

package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
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
