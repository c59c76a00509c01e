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
// to the service, the second one stops it, and so does SIGTERM. Where that can't be done, it ends with the reason.
func (a *app) stay(ctx context.Context, r api.RunResult) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	name := r.Service.Name
	if r.Already {
		a.say("%s: already %s", name, outcome(r.Service))
	}
	sig := make(chan os.Signal, 4)
	heed(sig, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(sig)
	go a.passOn(ctx, name, sig, giveUp)

	follow, last := context.WithCancel(ctx)
	defer last()
	end := make(chan *api.LogMark, 1)
	shown := make(chan error, 1)
	go func() { shown <- a.showRun(follow, r.Service, end) }()
	s, err := a.awaitExit(ctx, name)
	// Its output is in the log before its end is known, so nothing is missing now.
	end <- s.LogEnd
	last()
	if serr := <-shown; serr != nil {
		return serr
	}
	if why := context.Cause(ctx); isUnreachable(why) {
		return why
	}
	if err != nil {
		return err
	}
	return a.exitAs(s)
}

// stayAttached is stay with this terminal as the service's own. Whoever detaches leaves it running.
func (a *app) stayAttached(ctx context.Context, r api.RunResult) error {
	name := r.Service.Name
	_, detached, err := a.attach(ctx, name)
	switch {
	case detached:
		a.say("%s: detached, it runs on", name)
		return nil
	case isCode(err, api.CodeNotRunning): // it ended before it was attached to
		return a.stay(ctx, r)
	case err != nil:
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

// passOn turns signals into requests, each beside the others: one may take as long as the service's grace. It gives up with the reason
// why there is no hobd that would stop the service.
func (a *app) passOn(ctx context.Context, name string, sig <-chan os.Signal, giveUp context.CancelCauseFunc) {
	interrupted := false
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-sig:
			if s == syscall.SIGINT && !interrupted {
				interrupted = true
				go func() {
					a.complain(ctx, a.with(ctx, a.dial, func(c *hob.Client) error {
						_, err := api.ServiceKill.Call(ctx, c, api.KillParams{Name: name, Signal: "INT", Group: true})
						return err
					}))
				}()
				continue
			}
			go func() {
				err := a.with(ctx, a.dial, func(c *hob.Client) error {
					_, err := api.ServiceStop.Call(ctx, c, api.NamesParams{Names: []string{name}})
					return err
				})
				if isUnreachable(err) {
					giveUp(err)
				} else {
					a.complain(ctx, err)
				}
			}()
		}
	}
}

// complain is about what failed besides, until ctx ends. A service that has ended needs no signal any more.
func (a *app) complain(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && !isCode(err, api.CodeNotRunning) && !isCode(err, api.CodeNoSuchService) {
		a.words("hob: %v", err)
	}
}

// showRun copies the log of a run to stdout: until ctx ends, and then what it has said until end, or until then
// where end is nil. What is left of its tree may write on.
func (a *app) showRun(ctx context.Context, s api.Service, end <-chan *api.LogMark) error {
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
	if err == nil && !run.limited && !run.end() {
		err = run.limit(<-end)
	}
	if err == nil {
		err = p.drain(s.Name, r)
	}
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

// copy prints until the end of the run or of ctx, and leaves the rest to drain.
func (l *runLog) copy(ctx context.Context, p *printer) error {
	for ctx.Err() == nil {
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
			return nil
		case err != nil:
			return err
		}
		if err := p.print(l.name, line); err != nil {
			return err
		}
	}
	return nil
}

// limit makes end the end, or where the log ends now.
func (l *runLog) limit(end *api.LogMark) error {
	if end != nil {
		l.r.Until(servicelog.Position(*end))
		return nil
	}
	at, err := endOf(l.inst, l.name)
	l.r.Until(at)
	return err
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
		if isCode(err, api.CodeNoSuchService) { // somebody was quicker than this call
			return s, forgotten(name)
		}
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

// forgotten is for a service whose end nobody can tell any more.
func forgotten(name string) error {
	return &hob.Error{Code: api.CodeFailed, Message: fmt.Sprintf("service %q was stopped and forgotten", name)}
}

// ended looks on disk whether the service has ended.
func (a *app) ended(name string) (bool, api.Service, error) {
	_, disk, err := a.disk()
	if err != nil {
		return false, api.Service{}, err
	}
	found, err := pick(disk, []string{name})
	if err != nil {
		return true, api.Service{}, forgotten(name)
	}
	if mayLive(found[0], store.BootID()) {
		return false, api.Service{}, nil
	}
	return true, fromDisk(found)[0], nil
}
