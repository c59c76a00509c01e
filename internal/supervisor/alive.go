package supervisor

import (
	"context"
	"time"

	"github.com/hobworks/hob/internal/readiness"
	"github.com/hobworks/hob/internal/service"
)

// keepChecking begins to check whether the service still works, if it says how. What was begun before ends.
func (v *svc) keepChecking() {
	v.stopChecking()
	a := v.st.Alive
	if !a.Declared() || !v.st.State.Serving() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.uncheck = cancel
	fails := 0
	if v.st.State == service.Unready {
		fails = a.Fails
	}
	v.checker = &checker{v: v, generation: v.st.Generation, a: a, fails: fails, target: v.target()}
	go v.checker.run(ctx)
}

func (v *svc) stopChecking() {
	if v.uncheck != nil {
		v.uncheck()
		v.uncheck, v.checker = nil, nil
	}
}

// checker asks a run again and again.
type checker struct {
	v          *svc
	generation int
	a          service.Alive
	fails      int // in a row
	target     readiness.Target
}

func (c *checker) run(ctx context.Context) {
	t := time.NewTicker(c.a.Every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		err := readiness.Check(ctx, service.Readiness{HTTP: c.a.HTTP, TCP: c.a.TCP, Exec: c.a.Exec}, c.target)
		if ctx.Err() != nil {
			return
		}
		c.v.post(event{kind: evChecked, generation: c.generation, by: c, since: began})
		c.judge(err)
	}
}

// judge tells the service when it has failed often enough, and when it works again.
func (c *checker) judge(err error) {
	was := c.fails >= c.a.Fails
	if c.fails++; err == nil {
		c.fails = 0
	}
	switch is := c.fails >= c.a.Fails; {
	case is:
		c.v.post(event{kind: evSick, generation: c.generation, by: c, err: err})
	case was:
		c.v.post(event{kind: evWell, generation: c.generation, by: c})
	}
}

// checked is for the end of an alive check. The connection that it made is nobody's need.
func (v *svc) checked(ev event) {
	if v.front.arrivedAt.After(ev.since) {
		v.front.arrived = false
	}
}

// sicken is for a run that does not work.
func (v *svc) sicken(ev event) { v.st.Why = "alive check: " + ev.err.Error() }

// recovered is for one that works again.
func (v *svc) recovered(event) {
	v.st.State, v.st.Why = service.Running, ""
	if v.readiness().Declared() {
		v.st.State = service.Ready
	}
}
