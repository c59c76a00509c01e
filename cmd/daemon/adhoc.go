package daemon

import (
	"errors"
	"fmt"
	"time"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
)

// autoSocket asks for a socket in hobd's own directory.
const autoSocket = "auto"

// adHoc is the service that a client describes. Whatever is wrong with it is said before anything is made.
func (d *daemon) adHoc(p api.RunParams) (service.Spec, error) {
	spec := service.Spec{Name: p.Name, Cmd: p.Cmd, Dir: p.Dir, Env: p.Env, Source: service.SourceRun, Stop: service.DefaultStop,
		Restart: service.Restart(p.Restart), Log: service.DefaultLog, Color: p.Color, TTY: p.TTY,
		Idle: time.Duration(p.IdleMS) * time.Millisecond}
	if err := errors.Join(service.CheckName(p.Name), spec.CheckArgs(), service.CheckRestart(p.Restart)); err != nil {
		return spec, err
	}
	if p.IdleMS < 0 || spec.Idle/time.Millisecond != time.Duration(p.IdleMS) {
		return spec, fmt.Errorf("service %q: idle_ms %d: not a time", p.Name, p.IdleMS)
	}
	if p.Find {
		if p.Listen != "" || p.Proxy || p.IdleMS > 0 {
			return spec, fmt.Errorf("service %q: where it listens by itself is found, so there is no socket of hobd's, and nobody to be counted for idle", p.Name)
		}
		spec.Ready = service.Readiness{Own: true, Timeout: service.DefaultReadyTimeout}
	}
	var err error
	spec.Listen, err = d.listen(p)
	if err != nil {
		return spec, fmt.Errorf("service %q: %w", p.Name, err)
	}
	return spec, nil
}

func (d *daemon) listen(p api.RunParams) (l service.Listen, err error) {
	switch {
	case p.Listen == "" && (p.Proxy || p.To != ""):
		return l, errors.New("a proxy without a socket to listen on")
	case p.Listen == "":
		return l, nil
	case p.To != "" && !p.Proxy:
		return l, errors.New("where to forward to, and no proxy")
	case p.Listen == autoSocket:
		l.Address = service.Address{Network: "unix", Addr: d.inst.Path(instance.SockName, p.Name)}
		err = l.Address.Check()
	default:
		l.Address, err = service.ParseAddress(p.Listen, p.Dir)
	}
	l.Proxy = p.Proxy
	if err == nil && p.To != "" {
		l.To, err = service.ParseAddress(p.To, p.Dir)
	}
	if err == nil && p.To != "" && l.To.LeadsTo(l.Address) {
		err = fmt.Errorf("forward to %s: it is where hobd listens itself", l.To)
	}
	return l, err
}
