package hob

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnUpgradeThatComesToNothingIsAnswered: also one that did not come as far as to have everybody yield.
func TestAnUpgradeThatComesToNothingIsAnswered(t *testing.T) {
	t.Parallel()
	var u upgrader
	u.init()
	early := u.yielding()
	u.unyield()
	require.True(t, isClosed(early))
	late := u.yielding()
	require.False(t, isClosed(late))
	close(late)
	u.unyield()
	require.False(t, isClosed(u.yielding()))
}
