package hob

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/probe"
)

// TestHintsOfOtherProgramsDoNotNeedHob: who uses a tool that embeds hob need not have it.
func TestHintsOfOtherProgramsDoNotNeedHob(t *testing.T) {
	t.Parallel()
	for _, r := range []probe.Report{
		{Verdict: probe.Unresponsive, Pid: 42, State: 'T'}, {Verdict: probe.Unresponsive, Pid: 42, State: 'D'}, {Verdict: probe.Unresponsive},
		{Verdict: probe.Skewed}, {Verdict: probe.Busy}, {Verdict: probe.Starting},
	} {
		hobs := verdictError(instance.Instance{ID: "1", State: "/s"}, r)
		others := verdictError(instance.Instance{ID: "1", State: "/s", Name: "greet"}, r)
		require.Equal(t, hobs.Message, others.Message)
		require.NotEmpty(t, others.Hint)
		require.NotContains(t, others.Hint, "hob ")
		require.NotContains(t, others.Hint, "-KILL 0")
		if r.Verdict == probe.Unresponsive || r.Verdict == probe.Skewed {
			require.Contains(t, hobs.Hint, "hob daemon restart")
		}
	}
}
