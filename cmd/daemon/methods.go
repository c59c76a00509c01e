package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/supervisor"
)

// handler answers hobd's own methods.
func (d *daemon) handler() hob.Handler {
	var m api.Mux
	api.ServiceRun.Bind(&m, d.serviceRun)
	api.ServiceStart.Bind(&m, d.serviceStart)
	api.ServiceStop.Bind(&m, d.serviceStop)
	api.ServiceRestart.Bind(&m, d.serviceRestart)
	api.ServiceRemove.Bind(&m, d.serviceRemove)
	api.ServiceKill.Bind(&m, d.serviceKill)
	api.ServiceList.Bind(&m, d.serviceList)
	api.ServiceWait.Bind(&m, d.serviceWait)
	api.ServiceInput.Bind(&m, d.serviceInput)
	api.ServiceResize.Bind(&m, d.serviceResize)
	api.ProjectDown.Bind(&m, d.projectDown)
	return patiently(func(ctx context.Context, r *hob.Request) (any, error) {
		// These talk to the client before they answer.
		var result any
		var err error
		defer d.mem.used()
		switch r.Method {
		case api.ServiceEvents.Name:
			return api.None{}, d.serviceEvents(ctx, r)
		case api.ProjectUp.Name:
			result, err = told(ctx, r, d.projectUp)
		case api.ServiceHold.Name:
			result, err = told(ctx, r, d.serviceHold)
		case api.ServiceAttach.Name:
			result, err = told(ctx, r, d.serviceAttach)
		case api.ServiceAddress.Name:
			result, err = told(ctx, r, d.serviceAddress)
		default:
			result, err = m.Handle(ctx, r.Method, r.Params)
		}
		return result, coded(err)
	})
}

// patient are the calls that only wait, for what may be long in coming: when hobd becomes another program they wait there.
var patient = []string{api.ServiceWait.Name, api.ServiceEvents.Name, api.ServiceHold.Name, api.ServiceAttach.Name}

var errHandover = errors.New("the daemon becomes another version of itself")

// patiently ends those calls before an upgrade, which is not held up by them then.
func patiently(h hob.Handler) hob.Handler {
	return func(ctx context.Context, r *hob.Request) (any, error) {
		if !slices.Contains(patient, r.Method) {
			return h(ctx, r)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() {
			select {
			case <-r.Handover:
				cancel(errHandover)
			case <-ctx.Done():
			}
		}()
		result, err := h(ctx, r)
		if err != nil && context.Cause(ctx) == errHandover {
			err = &hob.Error{Code: api.CodeAgain, Message: errHandover.Error(), Err: err}
		}
		return result, err
	}
}

// coded gives the supervisor's errors the codes that clients read.
func coded(err error) error {
	if err == nil {
		return nil
	}
	var died *supervisor.DiedError
	var known *hob.Error
	e := &hob.Error{Message: err.Error(), Err: err}
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, supervisor.ErrNoSuchService):
		e.Code, e.Hint = api.CodeNoSuchService, "see \"hob ps\""
	case errors.Is(err, supervisor.ErrNameTaken):
		e.Code, e.Hint = api.CodeNameTaken, "use another name, or --replace"
	case errors.As(err, &died):
		e.Code = api.CodeStartFailed
	case errors.Is(err, supervisor.ErrNoTerminal):
		e.Code, e.Hint = api.CodeNoTerminal, "give it one with tty = true in hob.toml, or with hob run --tty"
	case errors.Is(err, supervisor.ErrBusy):
		e.Code = api.CodeBusy
	case errors.Is(err, supervisor.ErrNotRunning):
		e.Code = api.CodeNotRunning
	case errors.Is(err, supervisor.ErrClosed):
		e.Code = api.CodeDraining
	case strings.Contains(e.Message, "\n"): // errors.Join
		e.Code, e.Message = api.CodeFailed, strings.ReplaceAll(e.Message, "\n", "; ")
	default:
		return err
	}
	return e
}

func (d *daemon) serviceRun(ctx context.Context, p api.RunParams) (api.RunResult, error) {
	if source, ok := d.inFile(p.Name); ok {
		return api.RunResult{}, &hob.Error{Code: api.CodeNameTaken, Message: fmt.Sprintf("service %q is one of %s", p.Name, source),
			Hint: "start it with \"hob up " + p.Name + "\", or use another name"}
	}
	spec, err := d.adHoc(p)
	if err != nil {
		return api.RunResult{}, &hob.Error{Code: api.CodeUsage, Message: err.Error(), Err: err}
	}
	st, already, err := d.sup.Run(ctx, spec, supervisor.RunOptions{Replace: p.Replace, NoWait: p.NoWait, Lazy: p.Lazy})
	if err != nil {
		return api.RunResult{}, err
	}
	return api.RunResult{Service: d.document(st, p.Env), Already: already}, nil
}

// each does f for every name, in order, and stops at the first error.
func (d *daemon) each(names []string, env []string, f func(name string) (service.Status, error)) (api.ServicesResult, error) {
	all, err := d.statuses(names, f)
	if err != nil {
		return api.ServicesResult{}, err
	}
	return api.ServicesResult{Services: d.documents(all, env)}, nil
}

// mostNames bounds what one call makes hobd do, several times over: a name may be there more than once.
const mostNames = 10_000

// statuses is each without a look at processes.
func (d *daemon) statuses(names []string, f func(name string) (service.Status, error)) ([]service.Status, error) {
	if len(names) == 0 {
		return nil, &hob.Error{Code: api.CodeUsage, Message: "no service was named"}
	}
	if len(names) > mostNames {
		return nil, &hob.Error{Code: api.CodeUsage, Message: fmt.Sprintf("%d names at once: more than %d", len(names), mostNames)}
	}
	var all []service.Status
	for _, name := range names {
		st, err := f(name)
		if err != nil {
			return nil, d.unknown(err, names)
		}
		all = append(all, st)
	}
	return all, nil
}

func (d *daemon) serviceStart(ctx context.Context, p api.NamesParams) (api.ServicesResult, error) {
	return d.each(p.Names, p.Env, func(name string) (service.Status, error) { return d.sup.Start(ctx, name) })
}

func (d *daemon) serviceStop(_ context.Context, p api.NamesParams) (api.ServicesResult, error) {
	if _, err := d.statuses(p.Names, d.sup.Status); err != nil {
		return api.ServicesResult{}, err // nothing is stopped when one of them is not known
	}
	// The client may go: what it asked for is done all the same, with the grace that was set.
	all, err := d.sup.Stop(context.Background(), p.Names...)
	return api.ServicesResult{Services: d.documents(all, nil)}, err
}

func (d *daemon) serviceRestart(ctx context.Context, p api.NamesParams) (api.ServicesResult, error) {
	return d.each(p.Names, p.Env, func(name string) (service.Status, error) { return d.sup.Restart(ctx, name, p.Env) })
}

func (d *daemon) serviceRemove(ctx context.Context, p api.NamesParams) (api.ServicesResult, error) {
	return d.each(p.Names, nil, func(name string) (service.Status, error) { return d.sup.Remove(ctx, name) })
}

func (d *daemon) serviceKill(_ context.Context, p api.KillParams) (api.ServicesResult, error) {
	sig, err := signalNumber(p.Signal)
	if err != nil {
		return api.ServicesResult{}, &hob.Error{Code: api.CodeUsage, Message: err.Error()}
	}
	return d.each([]string{p.Name}, nil, func(name string) (service.Status, error) {
		return d.sup.Signal(name, supervisor.Signal{Number: sig, Group: p.Group})
	})
}

// signalNumber reads "HUP", "sighup" or "1".
func signalNumber(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 64 {
			return 0, fmt.Errorf("signal %d: not between 1 and 64", n)
		}
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("signal %q is not known", s)
}

func (d *daemon) serviceList(_ context.Context, p api.NamesParams) (api.ServicesResult, error) {
	if len(p.Names) > 0 {
		r, err := d.each(p.Names, p.Env, d.sup.Status)
		for i := range r.Services {
			if st, err := d.sup.Status(r.Services[i].Name); err == nil {
				r.Services[i].Detail(st)
			}
		}
		return r, err
	}
	return api.ServicesResult{Services: d.documents(d.sup.List(), nil)}, nil
}

func (d *daemon) serviceWait(ctx context.Context, p api.WaitParams) (api.ServicesResult, error) {
	var st service.Status
	var err error
	switch what, expr, _ := strings.Cut(p.For, ":"); what {
	case "ready":
		st, err = d.sup.WaitReady(ctx, p.Name)
	case "exit":
		st, err = d.sup.WaitExit(ctx, p.Name)
	case "log":
		re, rerr := regexp.Compile(expr)
		if rerr != nil {
			return api.ServicesResult{}, &hob.Error{Code: api.CodeUsage, Message: rerr.Error()}
		}
		st, err = d.sup.WaitLog(ctx, p.Name, re.Match)
	default:
		err = &hob.Error{Code: api.CodeUsage, Message: fmt.Sprintf("wait for %q: not ready, exit or log:RE", p.For)}
	}
	if err != nil {
		return api.ServicesResult{}, err
	}
	return api.ServicesResult{Services: []api.Service{d.document(st, nil)}}, nil
}

// told reads the parameters for a method that talks to its client before it answers.
func told[P, R any](ctx context.Context, r *hob.Request, do func(context.Context, *hob.Request, P) (R, error)) (any, error) {
	var p P
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &p); err != nil {
			return nil, &hob.Error{Code: api.CodeUsage, Message: "read the parameters of " + r.Method + ": " + err.Error(), Err: err}
		}
	}
	return do(ctx, r, p)
}

func (d *daemon) projectDown(context.Context, api.None) (api.DownResult, error) {
	stopped, err := d.sup.StopAll(context.Background(), false)
	if err != nil {
		return api.DownResult{}, err
	}
	// What had to be killed is known until a service is forgotten.
	r := api.DownResult{Services: d.documents(stopped, nil)}
	_, err = d.sup.StopAll(context.Background(), true)
	return r, err
}
