package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
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
	go func() { shown <- a.showRun(follow, name, r.Service.LogStart) }()
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

// showRun copies the log from a run's beginning to stdout until ctx ends, and then to its end.
func (a *app) showRun(ctx context.Context, name string, from *api.LogMark) error {
	inst, err := a.instance()
	if err != nil || from == nil {
		return err
	}
	r, err := servicelog.NewReader(inst.Path("log", name))
	if err != nil {
		return err
	}
	defer r.Close()
	r.Seek(servicelog.Position(*from))
	p := a.newPrinter([]string{name})
	p.raw = true
	err = p.follow(ctx, name, r)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = p.drain(name, r)
	}
	return errors.Join(err, p.close())
}

// awaitExit waits for the end of the service, through as many daemons as it takes.
func (a *app) awaitExit(ctx context.Context, name string) (api.Service, error) {
	dial := a.contact
	for {
		s, err := a.waitExit(ctx, dial, name)
		nobody := isAbsent(err)
		if !nobody && !isCode(err, "lost") && !isCode(err, api.CodeDraining) {
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
