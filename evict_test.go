package hob_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob"
)

// TestWhoOverstaysIsEvicted: a daemon that has said that it leaves, and does not, is in nobody's way for ever.
func TestWhoOverstaysIsEvicted(t *testing.T) {
	t.Parallel()
	inst := newInstance(t, "overstays")
	stay := filepath.Join(inst.Dir, "stay")
	require.NoError(t, os.WriteFile(stay, nil, 0o600))
	c, err := hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	first := c.Welcome().Pid
	require.NoError(t, c.Close())
	require.NoError(t, hob.Evict(t.Context(), inst))
	gone(t, inst)
	require.NoError(t, hob.Evict(t.Context(), inst), "there is nobody any more")
	require.NoError(t, os.Remove(stay))
	c, err = hob.Dial(t.Context(), inst, nil)
	require.NoError(t, err)
	require.NotEqual(t, first, c.Welcome().Pid)
	require.NoError(t, c.Close())
}
