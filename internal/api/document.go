package api

import (
	"time"

	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/service"
)

// Mux routes calls to the methods that were bound to it.
type Mux = ipc.Mux

// NewService is st as documents show it, at the time now.
func NewService(st service.Status, now time.Time) Service {
	s := Service{
		Name: st.Name, State: string(st.State), Want: string(st.Want), Pid: st.Pid,
		StartedAt: timeOrNil(st.StartedAt), Restarts: st.Restarts, Adopted: st.Adopted, Generation: st.Generation,
		Why: st.Why, Cmd: st.Cmd, Dir: st.Dir, Source: string(st.Source),
	}
	if st.State.Alive() && !st.StartedAt.IsZero() {
		s.UptimeMS = max(0, now.Sub(st.StartedAt).Milliseconds())
	}
	if st.State == service.Running {
		s.ReadyAt = timeOrNil(st.ReadyAt)
	}
	if st.Exit != nil {
		s.Exit = &Exit{Code: st.Exit.Code, Signal: st.Exit.Signal, At: st.Exit.At.UTC()}
	}
	if st.Generation > 0 {
		s.LogStart = &LogMark{Segment: st.LogStart.Segment, Offset: st.LogStart.Offset}
	}
	return s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
