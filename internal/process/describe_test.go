//go:build linux

package process

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDescribeTellsHowItWasStarted(t *testing.T) {
	dir := t.TempDir()
	path, err := LookPath("sleep", dir, []string{"PATH=/usr/bin:/bin"})
	require.NoError(t, err)
	p, err := Start(Spec{Path: path, Args: []string{"sleep", "1000"}, Env: []string{"A=1", "B="}, Dir: dir, Mark: "describe/x/1"})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := p.Terminate(t.Context(), Stop{})
		require.NoError(t, err)
		require.NoError(t, p.Release())
	})
	var d Description
	require.Eventually(t, func() bool { // execve(2) has replaced the program before it shows its arguments
		d, err = Describe(p.ID())
		return err != nil || len(d.Args) > 0
	}, time.Minute, time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, []string{"sleep", "1000"}, d.Args)
	require.Equal(t, dir, d.Dir)
	require.ElementsMatch(t, []string{"A=1", "B=", "HOB_ID=describe/x/1"}, d.Env)
	require.WithinDuration(t, time.Now(), d.StartedAt, time.Hour)
	other := p.ID()
	other.Start++
	_, err = Describe(other)
	require.ErrorIs(t, err, os.ErrProcessDone)
}
