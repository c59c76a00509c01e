package api

import (
	"fmt"
	"strings"
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
		Why: st.Why, Cmd: st.Cmd, Dir: st.Dir, Source: string(st.Source), Addr: st.Addr().String(),
	}
	if st.State.Alive() && !st.StartedAt.IsZero() {
		s.UptimeMS = max(0, now.Sub(st.StartedAt).Milliseconds())
	}
	if st.State.Up() {
		s.ReadyAt = timeOrNil(st.ReadyAt)
	}
	if st.Exit != nil {
		s.Exit = &Exit{Code: st.Exit.Code, Signal: st.Exit.Signal, At: st.Exit.At.UTC()}
		if st.Exit.LogEnd != (service.LogMark{}) {
			s.LogEnd = &LogMark{Segment: st.Exit.LogEnd.Segment, Offset: st.Exit.LogEnd.Offset}
		}
	}
	if s.Restart = string(st.Restart); st.Restart == "" {
		s.Restart = string(service.RestartOnFailure)
	}
	for _, n := range st.Needs {
		s.Needs = append(s.Needs, n.Name)
	}
	s.IdleMS, s.TTY = st.Idle.Milliseconds(), st.TTY
	s.EnvAt = timeOrNil(st.EnvAt)
	if st.State == service.Backoff {
		s.NextTry = timeOrNil(st.NextTry)
		s.Why = strings.TrimPrefix(fmt.Sprintf("%s, try %d in %s", st.Why, st.Tries+1, wait(st.NextTry.Sub(now))), ", ")
	}
	if st.Generation > 0 {
		s.LogStart = &LogMark{Segment: st.LogStart.Segment, Offset: st.LogStart.Offset}
	}
	return s
}

// wait shows how long something takes yet, to a person.
func wait(d time.Duration) string {
	if d >= time.Second {
		return d.Round(time.Second).String()
	}
	return max(0, d).Round(100 * time.Millisecond).String()
}

// Detail adds what is only told about one service.
func (s *Service) Detail(st service.Status) {
	for _, l := range st.Leases {
		s.Leases = append(s.Leases, l.Pid)
	}
	for _, x := range st.Exits {
		s.Exits = append(s.Exits, Exit{Code: x.Code, Signal: x.Signal, At: x.At.UTC()})
	}
	for _, kv := range st.Set {
		name, _, _ := strings.Cut(kv, "=")
		s.EnvSet = append(s.EnvSet, name)
	}
}

// NewEvent is the change of a service from the state from to what st says, at the time at.
func NewEvent(at time.Time, from service.State, st service.Status) Event {
	e := Event{V: V, Time: at.UTC(), Type: TypeState, Service: st.Name, From: string(from), To: string(st.State), Pid: st.Pid, Why: st.Why}
	if from == "" {
		e.Type = TypeSnapshot
	}
	return e
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
