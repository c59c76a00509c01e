package hob

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStopAsksForMore: who wants everything to be stopped gets that, or is told that it is too late; who wants less gets more.
func TestStopAsksForMore(t *testing.T) {
	t.Parallel()
	keep, all := stopRequest{Reason: "retire", Keep: true}, stopRequest{Reason: "stop"}
	for _, c := range []struct {
		first, second, want stopRequest
	}{{keep, all, all}, {all, keep, all}, {keep, keep, keep}} {
		s := stops{asked: make(chan struct{}, 1)}
		require.Nil(t, s.pending())
		require.NoError(t, s.ask(c.first))
		require.NoError(t, s.ask(c.second))
		require.Equal(t, c.want, *s.pending())
		<-s.asked
		require.Equal(t, c.want, s.take())
		require.NoError(t, s.ask(keep))
		err := s.ask(all)
		if !c.want.Keep {
			require.NoError(t, err)
			continue
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "draining", e.Code)
		require.ErrorContains(t, err, "leaving what it runs for the next one: retire")
	}
	s := stops{asked: make(chan struct{}, 1)}
	yield := stopRequest{Reason: "another rules", Keep: true, Yield: true}
	require.NoError(t, s.ask(yield))
	require.Error(t, s.ask(all), "what runs is the other one's")
	require.Equal(t, yield, *s.pending())
}
