package version

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVersionsAreInTheOrderOfTheirMaking, each before the next one.
func TestVersionsAreInTheOrderOfTheirMaking(t *testing.T) {
	t.Parallel()
	order := []string{
		"v0.0.0-20250101000000-abcdefabcdef",
		"v0.0.0-20260101000000-0bcdefabcdef+dirty",
		"v0.9.0",
		"v1.0.0-rc.1",
		"v1.0.0-rc.1-3-gabc123",
		"v1.0.0-rc.2",
		"v1.0.0",
		"v1.0.0-2-gdead",
		"v1.0.0-10-gbeef",
		"v1.0.1-0.20260101000000-0bcdefabcdef",
		"v1.0.1",
		"v1.10.0",
		"v2.0.0",
	}
	for i, a := range order {
		for j, b := range order {
			got, ok := Compare(a, b)
			require.True(t, ok, "%s %s", a, b)
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			require.Equal(t, want, got, "%s %s", a, b)
		}
	}
	for _, v := range []string{"", "devel", "3b1e49d", "1.2.3", "v1.x"} {
		_, ok := Compare(v, "v1.0.0")
		require.False(t, ok, v)
		_, ok = Compare("v1.0.0", v)
		require.False(t, ok, v)
	}
	same, ok := Compare("v1.0.0-dirty", "v1.0.0")
	require.True(t, ok)
	require.Zero(t, same)
}
