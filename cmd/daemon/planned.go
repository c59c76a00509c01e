package daemon

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/config"
)

// planned is a service of the file as clients see it.
func planned(s config.Service) api.PlannedService {
	p := api.PlannedService{
		Name: s.Name, Cmd: s.Cmd, Dir: s.Dir, Auto: s.Auto, Port: s.Port, Restart: string(s.Restart),
		Stop:   api.PlannedStop{Signal: unix.SignalName(s.Stop.Signal), TimeoutMS: s.Stop.Timeout.Milliseconds()},
		Log:    api.PlannedLog{MaxBytes: s.Log.Max, Keep: s.Log.Keep},
		IdleMS: s.Idle.Milliseconds(), Watch: s.Watch, TTY: s.TTY,
	}
	for _, n := range s.Needs {
		p.Needs = append(p.Needs, api.PlannedNeed{Name: n.Name, For: string(n.For)})
	}
	for _, kv := range s.Set {
		name, _, _ := strings.Cut(kv, "=")
		p.Env = append(p.Env, name)
	}
	if r := s.Ready; r.Declared() {
		p.Ready = &api.PlannedReady{Log: r.Log, TCP: r.TCP, HTTP: r.HTTP, Exec: r.Exec, Notify: r.Notify, FD: r.FD, TimeoutMS: r.Timeout.Milliseconds()}
	}
	if l := s.Listen; l.Network != "" {
		p.Listen = &api.PlannedListen{Addr: l.Address.String(), Proxy: l.Proxy, To: l.To.String()}
	}
	if a := s.Alive; a.Declared() {
		p.Alive = &api.PlannedAlive{HTTP: a.HTTP, TCP: a.TCP, Exec: a.Exec, EveryMS: a.Every.Milliseconds(), Fails: a.Fails}
	}
	return p
}
