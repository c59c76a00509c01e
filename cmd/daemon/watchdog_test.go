package daemon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWatchdogTime(t *testing.T) {
	t.Setenv("WATCHDOG_PID", "")
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "1500000": 1500 * time.Millisecond, "7200000000": 2 * time.Hour, "18446744073709551615": 0,
	} {
		t.Setenv("WATCHDOG_USEC", text)
		require.Equal(t, want, watchdogTime(), text)
	}
	t.Setenv("WATCHDOG_USEC", "1500000")
	t.Setenv("WATCHDOG_PID", "1")
	require.Zero(t, watchdogTime(), "it is meant for another process")
}
