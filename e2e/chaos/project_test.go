//go:build linux

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hobworks/hob"
)

// kind is what a project is there for.
type kind struct {
	name    string
	copies  int      // how many such projects there are; 0: one
	racers  int      // clients that call all the time
	faults  []fault  // that its daemon and its files have to bear
	toml    string   // hob.toml; "": there are no services
	files   files    // who removes files
	disk    string   // options of a file system of its own; "": there is none
	strace  []string // system calls at which hobd is delayed; none: it is not
	setUp   func(p *project) error
	refused []string // an error of a client that has one of these in it is right, here
}

// files says what happens to the files of an instance, and so what the witness may conclude when one is gone.
type files int

const (
	removed  files = iota // the faults remove some
	kept                  // only hob itself does
	untended              // only hob itself does, and no daemon ever leaves in good order: so nobody removes a socket or a pid file
)

// project is a directory with clients that race and a driver that applies faults.
type project struct {
	*harness
	kind     *kind
	dir      string
	state    string // directory
	id       string
	instance string // directory
	env      []string
	hobd     string
	rng      *rand.Rand // the driver's
	seed     uint64

	history history
	lives   lives
	pinned  atomic.Int32

	upgrades int          // the driver's
	may      atomic.Int64 // how many runs of each service there may have been
	outages  atomic.Int64 // grows when the disk is full, and again when it is so no more
}

func newProject(h *harness, k kind, name string, n uint64) (*project, error) {
	p := &project{harness: h, kind: &k, dir: filepath.Join(h.Base, name), state: filepath.Join(h.Base, "state"), hobd: filepath.Join(h.Bin, "hobd"),
		rng: rand.New(rand.NewPCG(h.Seed, n)), seed: n}
	p.history.p, p.lives.p = p, p
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return nil, err
	}
	if k.disk != "" {
		p.state = filepath.Join(h.Base, "disk-"+name)
		if ok, err := p.mountDisk(); err != nil || !ok {
			return nil, err
		}
	}
	if len(k.strace) > 0 {
		if ok, err := p.slowDown(); err != nil || !ok {
			return nil, err
		}
	}
	p.env = []string{"HOME=" + h.Base, "PATH=" + h.Bin + ":" + os.Getenv("PATH"), "HOB_STATE_DIR=" + p.state, "HOB_DAEMON=" + p.hobd}
	for _, name := range []string{"HOB_MUTANT"} {
		if v := os.Getenv(name); v != "" {
			p.env = append(p.env, name+"="+v)
		}
	}
	if k.toml != "" {
		if err := os.WriteFile(filepath.Join(p.dir, "hob.toml"), []byte(strings.ReplaceAll(k.toml, "WRITER", p.writer())), 0o600); err != nil {
			return nil, err
		}
	}
	return p, p.begin()
}

// writer is the command of a service, as TOML.
func (p *project) writer() string {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return fmt.Sprintf("'env', '%s=writer', '%s', '%s'", roleVar, self, p.dir)
}

// begin starts the daemon for the first time and learns where it is.
func (p *project) begin() error {
	out, err := p.program(p.background(), "--json", "daemon", "start")
	if err != nil {
		return fmt.Errorf("daemon start: %w: %s", err, out)
	}
	var d struct {
		Daemon struct{ Socket, Lock, ID string }
	}
	if err := json.Unmarshal(out, &d); err != nil {
		return err
	}
	p.instance, p.id = filepath.Dir(d.Daemon.Socket), strings.TrimPrefix(filepath.Base(filepath.Dir(d.Daemon.Socket)), "instance-")
	if p.kind.toml != "" {
		p.may.Store(1)
		if out, err := p.program(p.background(), "up"); err != nil {
			return fmt.Errorf("up: %w: %s", err, out)
		}
	}
	if p.kind.setUp != nil {
		return p.kind.setUp(p)
	}
	return nil
}

func (p *project) background() context.Context { return context.Background() }

func (p *project) path(name string) string { return filepath.Join(p.instance, name) }
func (p *project) lockPath() string        { return filepath.Join(p.state, "instance-"+p.id+".lock") }

// program runs hob to its end and gives its stdout; after a failure, with its stderr.
func (p *project) program(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.Bin, "hob"), args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	p.programs.Add(1)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		out = append(out, stderr.Bytes()...)
	}
	return out, err
}

// dial is a client's call in this process, with the library that every program of hob has it from.
func (p *project) dial(lease bool) (*hob.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.Patience)
	defer cancel()
	return hob.Dial(ctx, hob.Instance{Dir: p.dir, Command: []string{p.hobd, "--project", p.dir}},
		&hob.DialOptions{Client: "hob", NoLease: !lease})
}

// reach has a client call until there is a daemon. It reports false where no client can be expected to succeed; one that fails without
// such a reason is a violation.
func (p *project) reach() (serving proc, ok bool) {
	p.calls.Add(1)
	if p.kind.disk != "" {
		return p.reachByProgram()
	}
	c, err := p.dial(true)
	if err != nil {
		p.failed(err.Error())
		return proc{}, false
	}
	defer c.Close()
	return statOf(c.Welcome().Pid)
}

// reachByProgram is reach for an instance in a directory of its own, which only another process can have.
func (p *project) reachByProgram() (serving proc, ok bool) {
	full := p.outage()
	out, err := p.program(p.background(), "--json", "daemon", "start")
	if err != nil {
		if !full() || !p.explained(string(out)) {
			p.violated("%s: a client failed: %v: %s", p.kind.name, err, out)
		} else {
			p.refused.Add(1)
		}
		return proc{}, false
	}
	var d struct {
		Daemon struct{ Pid int }
	}
	if err := json.Unmarshal(out, &d); err != nil {
		p.violated("%s: a client said %q", p.kind.name, out)
		return proc{}, false
	}
	return statOf(d.Daemon.Pid)
}

// outage tells later whether the disk was full at any moment since this call.
func (p *project) outage() (full func() bool) {
	from := p.outages.Load()
	return func() bool { return from%2 == 1 || p.outages.Load() != from }
}

// failed is the end of a call with an error.
func (p *project) failed(text string) {
	if p.explained(text) {
		p.refused.Add(1)
		return
	}
	p.violated("%s: a client failed: %s", p.kind.name, text)
}

// explained: the error says what the fault was, so that a person would know what to do.
func (p *project) explained(text string) bool {
	for _, words := range p.kind.refused {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// race is a client that calls again and again, now and then as a process of hob.
func (p *project) race() {
	rng := rand.New(rand.NewPCG(p.Seed, rand.Uint64()))
	for p.ctx.Err() == nil {
		if p.kind.disk != "" || rng.IntN(150) == 0 {
			p.raceByProgram(rng)
		} else {
			p.reach()
		}
		p.pause(time.Duration(rng.IntN(4000)) * time.Microsecond)
	}
}

// raceByProgram calls hob as a person would.
func (p *project) raceByProgram(rng *rand.Rand) {
	verbs := [][]string{{"daemon", "start"}, {"ps"}, {"daemon", "status"}, {"daemon", "ping"}}
	args := verbs[rng.IntN(len(verbs))]
	full := p.outage()
	p.calls.Add(1)
	out, err := p.program(p.background(), args...)
	var exit *exec.ExitError
	switch text := string(out); {
	case err == nil:
	case errors.As(err, &exit) && (args[len(args)-1] == "status" || args[len(args)-1] == "ping" && exit.ExitCode() == 3): // that is the answer
	case p.kind.disk != "" && !full():
		p.violated("%s: hob %v: %v: %s", p.kind.name, args, err, text)
	default:
		p.failed(fmt.Sprintf("hob %v: %v: %s", args, err, text))
	}
}

func (p *project) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}

// end stops what runs, in good order, and looks at what it has written.
func (p *project) end() {
	p.history.check()
	stop := func(p *project, _ proc) {
		if out, err := p.program(p.background(), "daemon", "stop"); err != nil {
			p.violated("%s: it can't be stopped: %v: %s", p.kind.name, err, out)
		}
	}
	var pid int
	text, _ := os.ReadFile(p.path("hob.pid"))
	_, _ = fmt.Sscan(string(text), &pid)
	d, serves := statOf(pid)
	if serves && len(p.kind.strace) > 0 {
		stop = untraced(stop)
	}
	stop(p, d)
	p.complaints()
	if p.kind.toml != "" {
		p.checkLogs()
	}
}

// until polls, as long as a client would wait. Where one violation is enough, and was found, it reports success.
func (p *project) until(ok func() bool) bool {
	for deadline := time.Now().Add(p.Patience); !ok(); time.Sleep(500 * time.Microsecond) {
		if p.Stop && p.ctx.Err() != nil {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
