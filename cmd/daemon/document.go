package daemon

import (
	"sync"
	"time"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/supervisor"
)

// documents are services as clients see them. They are made at once, and so share a look at the process table.
func (d *daemon) documents(all []service.Status, env []string) []api.Service {
	out := make([]api.Service, len(all))
	var wg sync.WaitGroup
	for i, st := range all {
		wg.Go(func() { out[i] = d.document(st, env) })
	}
	wg.Wait()
	return out
}

// document is a service as clients see it, with what only a look at its processes tells. env, when
// not nil, is the caller's, for the drift.
func (d *daemon) document(st service.Status, env []string) api.Service {
	s := api.NewService(st, time.Now())
	look := d.sup.Look(st.Name)
	s.Pids, s.Killed, s.LogLost = look.Pids, look.Killed, look.Lost
	if look.Unsaved != nil {
		s.Unsaved = look.Unsaved.Error()
	}
	s.RSSBytes = look.RSS
	if up := time.Duration(s.UptimeMS) * time.Millisecond; up > 0 {
		s.CPUPercent = float64(look.CPU) / float64(up) * 100
	}
	s.EnvDrift = supervisor.Drift(st, env)
	return s
}
