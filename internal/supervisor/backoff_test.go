package supervisor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// TestDelays: the first at once, then 0.1 s doubling to 10 s, a quarter more or less.
func TestDelays(t *testing.T) {
	want := []time.Duration{0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000}
	for i, ms := range want {
		d := ms * time.Millisecond
		require.Equal(t, d, delay(i+1, 0.5), "try %d", i+1)
		require.Equal(t, d*3/4, delay(i+1, 0), "try %d", i+1)
		require.Less(t, delay(i+1, 0.999), d*5/4+1, "try %d", i+1)
	}
	require.Equal(t, maxDelay, delay(1_000_000, 0.5))
}

// runs plays runs of a service, each up after a while and ended after another one.
type runs struct {
	st  service.Status
	now time.Time
}

// end plays one run: ready after so long, or never if negative, and ended after life.
func (r *runs) end(ready, life time.Duration, ok bool) verdict {
	return r.endAs(ready, life, ending{ok: ok})
}

func (r *runs) endAs(ready, life time.Duration, e ending) verdict {
	r.st.ReadyAt = time.Time{}
	if ready >= 0 {
		r.st.ReadyAt = r.now.Add(ready)
	}
	r.now = r.now.Add(life)
	v := judge(&r.st, e, r.now, 0.5)
	r.now = r.now.Add(v.delay)
	return v
}

func newRuns(policy service.Restart) *runs {
	return &runs{st: service.Status{Spec: service.Spec{Restart: policy}}, now: time.Unix(1_000_000, 0)}
}

// TestPolicies: which ends of a run are followed by another one.
func TestPolicies(t *testing.T) {
	for policy, want := range map[service.Restart][2]bool{
		service.RestartNo: {false, false}, service.RestartOnFailure: {false, true}, "": {false, true}, service.RestartAlways: {true, true},
	} {
		require.Equal(t, want[0], newRuns(policy).end(0, time.Hour, true).again, "%s, exit 0", policy)
		require.Equal(t, want[1], newRuns(policy).end(0, time.Hour, false).again, "%s, exit 1", policy)
	}
}

// TestCrashLoopEnds: five runs that end at once, and there is no sixth.
func TestCrashLoopEnds(t *testing.T) {
	r := newRuns(service.RestartOnFailure)
	var delays []time.Duration
	for {
		v := r.end(-1, time.Millisecond, false)
		if !v.again {
			require.True(t, v.limited)
			break
		}
		delays = append(delays, v.delay)
		require.LessOrEqual(t, len(delays), startLimit)
	}
	require.Equal(t, []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}, delays)
}

// TestSlowCrashLoopGoesOn: runs that end before they were up for ten seconds, but fewer than five a minute, are
// tried again for ever, at most ten seconds later.
func TestSlowCrashLoopGoesOn(t *testing.T) {
	r := newRuns(service.RestartOnFailure)
	var last verdict
	for i := range 100 {
		last = r.end(20*time.Second, 25*time.Second, false)
		require.True(t, last.again, "run %d", i)
	}
	require.Equal(t, maxDelay, last.delay)
	require.Less(t, len(r.st.Failures), startLimit)
}

// TestProductiveRunIsForgiven: ten seconds up, and the next failure is the first again.
func TestProductiveRunIsForgiven(t *testing.T) {
	r := newRuns(service.RestartOnFailure)
	for range startLimit - 1 {
		require.True(t, r.end(-1, 0, false).again)
	}
	v := r.end(time.Second, time.Second+provenAfter, false)
	require.True(t, v.again)
	require.Zero(t, v.delay)
	require.Empty(t, r.st.Failures)
	for range startLimit - 1 {
		require.True(t, r.end(-1, 0, false).again)
	}
	require.True(t, r.end(-1, 0, false).limited)
}

// TestFailuresAreNotShared: what a status published is not written to later.
func TestFailuresAreNotShared(t *testing.T) {
	r := newRuns(service.RestartOnFailure)
	r.end(-1, 0, false)
	r.end(-1, 0, false)
	before := r.st.Failures
	first := before[0]
	r.end(-1, limitWindow-time.Millisecond, false)
	require.Equal(t, first, before[0])
}

// nowhere is a store that keeps nothing.
type nowhere struct{}

func (nowhere) Save(service.Status) error { return nil }
func (nowhere) Delete(string) error       { return nil }

// TestRetryComesWhenItIsDue: not before, and not for a service that somebody stopped meanwhile.
func TestRetryComesWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSupervisor(t)
		st := service.Status{Spec: service.Spec{Name: "web", Cmd: []string{"/nonexistent/web"}, Dir: "/"}, State: service.Backoff, Want: service.Up,
			Generation: 4, NextTry: time.Now().Add(3 * time.Second)}
		v := makeSvc(s, st)
		s.all["web"] = v
		v.retryLater()
		go v.loop()
		time.Sleep(3*time.Second - 1)
		synctest.Wait()
		require.Equal(t, service.Backoff, v.status().State)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, service.Failed, v.status().State)
		require.Contains(t, v.status().Why, "can't start")
		require.Equal(t, 5, v.status().Generation)

		v.st.State, v.st.NextTry = service.Backoff, time.Now().Add(time.Second)
		v.show()
		v.retryLater()
		_, err := v.stop(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, service.Stopped, v.status().State)
		v.close()
	})
}

// TestClockThatWasSetBack: what an earlier hobd has written by a clock that is wrong now is neither waited for nor held against the service.
func TestClockThatWasSetBack(t *testing.T) {
	r := newRuns(service.RestartOnFailure)
	for range startLimit - 1 {
		require.True(t, r.end(-1, 0, false).again)
	}
	r.now = r.now.Add(-time.Hour)
	require.True(t, r.end(-1, 0, false).again)
	require.Len(t, r.st.Failures, 1)

	synctest.Test(t, func(t *testing.T) {
		s := testSupervisor(t)
		v := makeSvc(s, service.Status{Spec: service.Spec{Name: "web", Cmd: []string{"/nonexistent/web"}, Dir: "/"}, State: service.Backoff, Want: service.Up,
			NextTry: time.Now().Add(time.Hour)})
		s.all["web"] = v
		v.retryLater()
		go v.loop()
		time.Sleep(2 * maxDelay)
		synctest.Wait()
		require.Equal(t, service.Failed, v.status().State, "it was tried")
		v.close()
	})
}

// TestProductiveRunsAreNotCounted: a run that took a connection is followed by another one at once, however often it crashes.
func TestProductiveRunsAreNotCounted(t *testing.T) {
	r := newRuns(service.RestartOnFailure)
	for range 1000 {
		require.Equal(t, verdict{again: true}, r.endAs(0, time.Millisecond, ending{productive: true, waiting: true}))
	}
	require.Equal(t, verdict{}, newRuns(service.RestartNo).endAs(0, time.Second, ending{productive: true, waiting: true}))
}

// TestWhoWaitsDoesNotWaitLong: while connections wait, a back-off is a second at most; and a run that leaves them waiting
// with exit 0 is a failure like any other, under each policy: else it would be started for ever.
func TestWhoWaitsDoesNotWaitLong(t *testing.T) {
	for _, policy := range []service.Restart{service.RestartNo, service.RestartOnFailure, service.RestartAlways} {
		r := newRuns(policy)
		for range startLimit - 1 {
			// Long enough to be forgiven, had it served anybody.
			v := r.endAs(time.Millisecond, 11*time.Second, ending{ok: true, waiting: true})
			require.True(t, v.again, policy)
			require.LessOrEqual(t, v.delay, impatient)
		}
		require.Equal(t, verdict{limited: true}, r.endAs(time.Millisecond, time.Second, ending{ok: true, waiting: true}), policy)
		require.Equal(t, verdict{}, newRuns(service.RestartOnFailure).endAs(0, time.Second, ending{ok: true, waiting: true, productive: true}))
	}
	r := newRuns(service.RestartOnFailure)
	r.st.Tries = 9
	require.Equal(t, impatient, r.endAs(-1, time.Second, ending{waiting: true}).delay)
	require.Greater(t, r.endAs(-1, time.Second, ending{}).delay, impatient)
}
