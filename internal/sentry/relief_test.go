package sentry

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errBroken = errors.New("hobd is broken")

// calls is a Relief's Call that notes when it was called.
type calls struct {
	began time.Time
	at    []time.Duration
	start []bool
	fails int // calls that fail before one does not
}

func (c *calls) call(start bool, _ int) error {
	c.at = append(c.at, time.Since(c.began))
	c.start = append(c.start, start)
	if len(c.at) <= c.fails {
		return errBroken
	}
	return nil
}

func relief(c *calls, need func() Need, log *strings.Builder) Relief {
	c.began = time.Now()
	return Relief{Need: need, Call: c.call, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func always(n Need) func() Need { return func() Need { return n } }

// TestReliefIsCalledAtOnce: services must not wait.
func TestReliefIsCalledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		var log strings.Builder
		require.True(t, relief(&c, always(Living), &log).Run())
		require.Equal(t, []time.Duration{0}, c.at)
		require.Equal(t, []bool{true}, c.start)
	})
}

// TestReliefDoesNotHammer: a broken hobd costs two tries a minute, and one line in the log.
func TestReliefDoesNotHammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{fails: 100}
		var log strings.Builder
		require.True(t, relief(&c, always(Living), &log).Run())
		require.Len(t, c.at, 101, "it does not give up while something lives")
		require.Greater(t, c.at[100], 90*maxDelay*3/4)
		for i := 1; i < len(c.at); i++ {
			require.GreaterOrEqual(t, c.at[i]-c.at[i-1], delay(i, 0))
			require.LessOrEqual(t, c.at[i]-c.at[i-1], delay(i, 1))
		}
		require.Equal(t, 1, strings.Count(log.String(), "hobd is broken"))
	})
}

// TestReliefEndsWithTheNeed: the services have ended, or somebody has stopped them.
func TestReliefEndsWithTheNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{fails: 1000}
		var log strings.Builder
		need := func() Need {
			if time.Since(c.began) > time.Minute {
				return Nothing
			}
			return Living
		}
		require.False(t, relief(&c, need, &log).Run())
		require.Less(t, time.Since(c.began), time.Minute+maxDelay*5/4)
		before := len(c.at)
		require.False(t, relief(&c, always(Nothing), &log).Run())
		require.Len(t, c.at, before, "no hobd is started for nothing")
	})
}

// TestReliefGivesUpWhereNothingLives: a service that is only to be started again keeps nobody for ever.
func TestReliefGivesUpWhereNothingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{fails: 1000}
		var log strings.Builder
		require.False(t, relief(&c, always(Waiting), &log).Run())
		require.GreaterOrEqual(t, time.Since(c.began), giveUp)
		require.Less(t, time.Since(c.began), giveUp+maxDelay*5/4)
	})
}

// TestReliefOfAFailingLineWaits: this hobd was not the first one to fail soon after its start.
func TestReliefOfAFailingLineWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		var log strings.Builder
		r := relief(&c, always(Living), &log)
		r.Failed = 5
		require.True(t, r.Run())
		require.GreaterOrEqual(t, c.at[0], delay(5, 0))
	})
}

// TestReliefLetsSomebodyElseStart the next hobd, for a while.
func TestReliefLetsSomebodyElseStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{fails: 20}
		var log strings.Builder
		r := relief(&c, always(Living), &log)
		r.HeadStart = 10 * time.Second
		require.True(t, r.Run())
		require.NotContains(t, c.start, true)

		c = calls{fails: 1000}
		r = relief(&c, always(Living), &log)
		r.HeadStart = 10 * time.Second
		c.fails = int(r.HeadStart / looks)
		require.True(t, r.Run())
		require.Equal(t, 10*time.Second, c.at[len(c.at)-1])
		require.True(t, c.start[len(c.start)-1])
		require.NotContains(t, c.start[:len(c.start)-1], true)
	})
}
