package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
	"github.com/hobworks/hob/internal/store"
)

// stay shows the log of the service's run until that ends, and passes its exit status on. SIGINT goes
// to the service, the second one stops it, and so does SIGTERM.
func (a *app) stay(ctx context.Context, r api.RunResult) error {
	name := r.Service.Name
	if r.Already {
		a.say("%s: already %s", name, outcome(r.Service))
	}
	sig := make(chan os.Signal, 4)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(sig)
	signals, end := context.WithCancel(ctx)
	defer end()
	go a.passOn(signals, name, sig)

	follow, last := context.WithCancel(ctx)
	defer last()
	shown := make(chan error, 1)
	go func() { shown <- a.showRun(follow, r.Service) }()
	s, err := a.awaitExit(ctx, name)
	last()
	// Its output is in the log before its end is known, so nothing is missing now.
	if serr := <-shown; serr != nil {
		return serr
	}
	if err != nil {
		return err
	}
	return a.exitAs(s)
}

// stayAttached is stay with this terminal as the service's own. Whoever detaches leaves it running.
func (a *app) stayAttached(ctx context.Context, name string) error {
	_, detached, err := a.attach(ctx, name)
	switch {
	case detached:
		a.say("%s: detached, it runs on", name)
		return nil
	case err != nil && !isCode(err, api.CodeNotRunning): // it may have ended before it was attached to
		return err
	}
	s, err := a.awaitExit(ctx, name)
	if err != nil {
		return err
	}
	return a.exitAs(s)
}

// exitAs ends hob as the service ended.
func (a *app) exitAs(s api.Service) error {
	switch {
	case s.Exit == nil && s.State == string(service.Failed), s.Exit != nil && s.Exit.Code < 0:
		return &hob.Error{Code: api.CodeFailed, Message: fmt.Sprintf("service %q: %s", s.Name, outcome(s))}
	case s.Exit == nil || s.Exit.Code == 0:
		return nil
	}
	return status(s.Exit.Code)
}

// passOn turns signals into requests.
func (a *app) passOn(ctx context.Context, name string, sig <-chan os.Signal) {
	interrupted := false
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-sig:
			if s == syscall.SIGINT && !interrupted {
				interrupted = true
				a.complain(a.with(ctx, a.dial, func(c *hob.Client) error {
					_, err := api.ServiceKill.Call(ctx, c, api.KillParams{Name: name, Signal: "INT", Group: true})
					return err
				}))
				continue
			}
			// Aside: the grace may be long, and another signal is to be heard meanwhile.
			go func() {
				a.complain(a.with(ctx, a.dial, func(c *hob.Client) error {
					_, err := api.ServiceStop.Call(ctx, c, api.NamesParams{Names: []string{name}})
					return err
				}))
			}()
		}
	}
}

// complain is about what failed besides. A service that has ended needs no signal any more.
func (a *app) complain(err error) {
	if err != nil && !errors.Is(err, context.Canceled) && !isCode(err, api.CodeNotRunning) && !isCode(err, api.CodeNoSuchService) {
		a.words("hob: %v", err)
	}
}

// showRun copies the log of a run to stdout: until ctx ends, and then what it has said until then.
func (a *app) showRun(ctx context.Context, s api.Service) error {
	inst, err := a.instance()
	if err != nil || s.LogStart == nil {
		return err
	}
	r, err := servicelog.NewReader(inst.Path("log", s.Name))
	if err != nil {
		return err
	}
	defer r.Close()
	r.Seek(servicelog.Position(*s.LogStart))
	p := a.newPrinter([]string{s.Name})
	p.raw = true
	run := &runLog{inst: inst, name: s.Name, generation: s.Generation, r: r}
	err = run.copy(ctx, p)
	return errors.Join(err, p.close())
}

// runLog reads the log of one run, and nothing of the next one: it may begin before anybody has
// told that this one has ended.
type runLog struct {
	inst       instance.Instance
	name       string
	generation int
	r          *servicelog.Reader
	seen       os.FileInfo // the state file when it was last looked at
	limited    bool
}

func (l *runLog) copy(ctx context.Context, p *printer) error {
	for {
		at := l.r.Position()
		line, err := l.r.Next()
		if errors.Is(err, io.EOF) {
			if err := p.flush(); err != nil {
				return err
			}
			line, err = l.r.Follow(ctx)
		}
		if l.end() {
			l.r.Seek(at) // once more, knowing where to end
			continue
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return p.drain(l.name, l.r)
		case err != nil:
			return err
		}
		if err := p.print(l.name, line); err != nil {
			return err
		}
	}
}

// clockGrain is more than the step of the clock that files get their times from.
const clockGrain = 20 * time.Millisecond

// end reports that it has become known where the run's log ends. A run is on disk before its process is
// forked: who has read something of it finds it there.
func (l *runLog) end() bool {
	if l.limited {
		return false
	}
	now, err := os.Stat(l.inst.Path(instance.StateName, l.name+".json"))
	if err != nil || l.seen != nil && os.SameFile(l.seen, now) && l.seen.ModTime().Equal(now.ModTime()) {
		return false
	}
	if l.seen = now; time.Since(now.ModTime()) < clockGrain {
		l.seen = nil // it may be written again, and look the same
	}
	all, err := store.Read(l.inst)
	if err != nil {
		return false
	}
	found, err := pick(all, []string{l.name})
	if err != nil || found[0].Generation <= l.generation {
		return false
	}
	l.limited = true
	l.r.Until(servicelog.Position(found[0].LogEndOf(l.generation)))
	return true
}

// awaitExit waits for the end of the service, through as many daemons as it takes.
func (a *app) awaitExit(ctx context.Context, name string) (api.Service, error) {
	dial := a.contact
	for {
		s, err := a.waitExit(ctx, dial, name)
		nobody := isAbsent(err)
		if !nobody && !isCode(err, codeLost) && !isCode(err, api.CodeDraining) {
			return s, err
		}
		// The daemon went away. What it wrote last tells whether anything is left to wait for:
		// a daemon that was told to leave has stopped the service, and none must be started.
		if ended, s, derr := a.ended(name); ended || derr != nil {
			return s, derr
		}
		if nobody && a.noSpawn {
			return s, err
		}
		if dial = a.contact; nobody {
			dial = a.dial
		}
		if !pause(ctx, 10*time.Millisecond) {
			return s, ctx.Err()
		}
	}
}

func (a *app) waitExit(ctx context.Context, dial dialer, name string) (s api.Service, err error) {
	c, err := dial(ctx)
	if err != nil {
		return s, err
	}
	defer c.Close()
	r, err := api.ServiceWait.Call(ctx, c, api.WaitParams{Name: name, For: "exit"})
	if err == nil && len(r.Services) == 1 {
		s = r.Services[0]
	}
	if isCode(err, api.CodeTimeout) {
		err = &hob.Error{Code: api.CodeTimeout, Message: fmt.Sprintf("service %q: it has not ended in %v", name, a.timeout), Err: err}
	}
	return s, err
}

// ended looks on disk whether the service has ended.
func (a *app) ended(name string) (bool, api.Service, error) {
	_, disk, err := a.disk()
	if err != nil {
		return false, api.Service{}, err
	}
	found, err := pick(disk, []string{name})
	if err != nil {
		return true, api.Service{}, &hob.Error{Code: api.CodeFailed, Message: fmt.Sprintf("service %q was stopped and forgotten", name)}
	}
	if mayLive(found[0], store.BootID()) {
		return false, api.Service{}, nil
	}
	return true, fromDisk(found)[0], nil
}
