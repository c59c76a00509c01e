package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/config"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
	"github.com/hobworks/hob/internal/supervisor"
)

// loadConfig reads the file of the project in the directory root; its errors are ready for clients.
func loadConfig(root string) (*config.Project, error) {
	p, err := config.Load(root)
	if err != nil {
		return nil, badConfig(err)
	}
	return p, nil
}

func badConfig(err error) error {
	e := &hob.Error{Code: api.CodeBadConfig, Message: err.Error(), Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Hint = "write one with \"hob init\", or start a command without: hob run NAME -- CMD…"
	}
	if all, ok := errors.AsType[*config.Errors](err); ok {
		e.Hint = all.List[0].Hint
	}
	return e
}

// projectUp applies the file and waits for what was asked for.
func (d *daemon) projectUp(ctx context.Context, r *hob.Request, p api.UpParams) (api.UpResult, error) {
	var project *config.Project
	quiet := func() {}
	all, err := d.sup.Apply(ctx, func() (plan supervisor.Plan, err error) {
		if project, plan, err = d.readPlan(p.Names); err != nil {
			return plan, err
		}
		plan.Whole, plan.NoWait, plan.Color = len(p.Names) == 0, p.NoWait, p.Color
		if plan.Env = p.Env; plan.Env == nil {
			plan.Env = []string{}
		}
		for _, spec := range plan.Specs { // before anything is ended
			spec.Env = p.Env
			if err := spec.CheckArgs(); err != nil {
				return plan, &hob.Error{Code: api.CodeUsage, Message: err.Error(), Err: err}
			}
		}
		if p.Progress {
			quiet = d.forward(r, func(name string) bool { return slices.Contains(plan.Start, name) })
		}
		return plan, nil
	})
	defer quiet()
	var died *supervisor.DiedError
	if err != nil && !errors.As(err, &died) {
		return api.UpResult{}, err
	}
	quiet() // so what is answered is newer than what was told
	// One that was up when it was its turn may have failed since, and be why another one has.
	for i, st := range all {
		if now, err := d.sup.Status(st.Name); err == nil && now.State != service.Stopped {
			all[i] = now
		}
	}
	result := api.UpResult{Services: d.documents(all, nil)}
	for _, st := range all {
		if st.State == service.Failed || st.State == service.Stopped {
			result.Failed = append(result.Failed, st.Name)
		}
	}
	for _, n := range project.Notes {
		result.Notes = append(result.Notes, n.String())
	}
	return result, nil
}

// readPlan reads the file, for the services that are named, or else all that start by themselves. What it says about hobd itself takes effect.
func (d *daemon) readPlan(names []string) (project *config.Project, plan supervisor.Plan, err error) {
	if project, err = loadConfig(d.inst.Root.Path); err != nil {
		return nil, plan, err
	}
	start, err := project.Select(names)
	if err != nil {
		return nil, plan, &hob.Error{Code: api.CodeNoSuchService, Message: err.Error(), Err: err}
	}
	plan = d.plan(project)
	for _, s := range start {
		plan.Start = append(plan.Start, s.Name)
	}
	d.settings(project)
	return project, plan, nil
}

// plan is the whole file for the supervisor. A Procfile's services get their ports.
func (d *daemon) plan(project *config.Project) supervisor.Plan {
	var plan supervisor.Plan
	taken := map[int]bool{}
	for _, s := range project.Services {
		if port := d.portOf(s.Name); s.Port && port != 0 {
			taken[port] = true
		}
	}
	for _, s := range project.Services {
		spec := s.Spec
		if s.Port && !slices.ContainsFunc(spec.Set, func(kv string) bool { return strings.HasPrefix(kv, "PORT=") }) {
			port := d.portOf(s.Name)
			if port == 0 {
				port = freePort(taken)
			}
			spec.Set = append(slices.Clone(spec.Set), "PORT="+strconv.Itoa(port))
		}
		plan.Specs = append(plan.Specs, spec)
	}
	return plan
}

// settings takes what the file says about hobd itself, and writes it down for the next one.
func (d *daemon) settings(project *config.Project) {
	s := store.Settings{IdleExit: project.Daemon.IdleExit}
	if !d.settle(s) {
		return
	}
	if err := d.store.SaveSettings(s); err != nil {
		d.log.Error("save the settings", "err", err)
	}
}

// settle has the settings take effect; changed: they are others than before.
func (d *daemon) settle(s store.Settings) (changed bool) {
	d.setting.Lock()
	defer d.setting.Unlock()
	if d.settled == s {
		return false
	}
	d.settled = s
	select {
	case <-d.idleExit: // nobody has heard of that one yet
	default:
	}
	d.idleExit <- s.IdleExit
	return true
}

// portOf is the port that a service has already: it keeps it.
func (d *daemon) portOf(name string) int {
	st, err := d.sup.Status(name)
	if err != nil || st.Source != service.SourceProcfile {
		return 0
	}
	for _, kv := range st.Set {
		if v, ok := strings.CutPrefix(kv, "PORT="); ok {
			port, _ := strconv.Atoi(v)
			return port
		}
	}
	return 0
}

// The ports that a Procfile's services are given.
const firstPort, lastPort = 5100, 5999

// freePort finds one that nobody has, and takes it; firstPort when there is none left.
func freePort(taken map[int]bool) int {
	for port := firstPort; port <= lastPort; port++ {
		if taken[port] {
			continue
		}
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		l.Close()
		taken[port] = true
		return port
	}
	return firstPort
}

// reload is up for SIGHUP: nobody waits, what somebody stopped stays stopped, and a file that can't be used
// changes nothing.
func (d *daemon) reload() {
	<-d.adopted
	defer d.boss.reloading()()
	var project *config.Project
	all, err := d.sup.Apply(context.Background(), func() (plan supervisor.Plan, err error) {
		if project, plan, err = d.readPlan(nil); err != nil {
			return plan, err
		}
		plan.Whole, plan.NoWait, plan.NewEnv = true, true, d.someEnv()
		plan.Start = slices.DeleteFunc(plan.Start, func(name string) bool {
			_, err := d.sup.Status(name)
			return err == nil
		})
		return plan, nil
	})
	if project == nil {
		d.log.Error("read the services again; nothing is changed", "err", err)
		return
	}
	if err != nil {
		d.log.Error("apply the services", "err", err)
	}
	d.log.Info("read the services again", "file", project.File, "started", len(all))
}

// someEnv is an environment for a service that no client asked for: the one that most likely is right, of
// another service of the file, else hobd's own.
func (d *daemon) someEnv() []string {
	for _, st := range d.sup.List() {
		if st.Source != service.SourceRun && st.Env != nil {
			return st.Env
		}
	}
	return os.Environ()
}

// inFile reports whether the project's file has a service of that name. A file that can't be read has none:
// a typo in it must not stop anything else.
func (d *daemon) inFile(name string) (source service.Source, ok bool) {
	project, err := config.Load(d.inst.Root.Path)
	if err != nil {
		return "", false
	}
	return project.Source, slices.ContainsFunc(project.Services, func(s config.Service) bool { return s.Name == name })
}

// unknown adds the way out to the error about a service that is in the file and was never started.
func (d *daemon) unknown(err error, names []string) error {
	if !errors.Is(err, supervisor.ErrNoSuchService) {
		return err
	}
	project, cerr := config.Load(d.inst.Root.Path)
	if cerr != nil {
		return err
	}
	for _, s := range project.Services {
		if slices.Contains(names, s.Name) {
			return &hob.Error{Code: api.CodeNoSuchService, Err: err, Message: err.Error(),
				Hint: fmt.Sprintf("it is in %s: hob up %s", project.Source, s.Name)}
		}
	}
	return err
}
