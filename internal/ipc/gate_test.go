package ipc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGateThatOpensAtOnce: a Suspend that is given up before the loop has seen it has ended the loop's read all the same. That is no end of its
// time: the loop sets its deadline and reads again.
func TestGateThatOpensAtOnce(t *testing.T) {
	t.Parallel()
	var kicks []time.Time
	g := &gate{kick: func(at time.Time) error { kicks = append(kicks, at); return nil }}
	set := 0
	deadline := func() { set++ }
	g.enter(deadline)
	require.Zero(t, set, "the loop has set it itself")
	g.shut()
	g.open()
	require.Equal(t, []time.Time{longAgo, {}}, kicks)
	require.False(t, g.leave())
	g.enter(deadline)
	require.Equal(t, 1, set)
	require.True(t, g.leave())
	g.enter(deadline)
	require.Equal(t, 1, set)
	require.True(t, g.leave())
}
