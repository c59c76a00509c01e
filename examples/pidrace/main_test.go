package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain plays the workers, too.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		os.Exit(work(os.Stdin, os.Stdout))
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // else each worker's end takes a second
	os.Exit(m.Run())
}

// TestTwoHoldADeletedLock: both wrong orders end with two holders.
func TestTwoHoldADeletedLock(t *testing.T) {
	for _, s := range schedules {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			var told bytes.Buffer
			holders, err := perform(&told, s)
			require.NoError(t, err)
			require.Equal(t, []string{"B", "C"}, holders, told.String())
			require.Equal(t, "two workers hold the lock: B and C", verdict(holders))
		})
	}
}

// TestOneHoldsHobsLock, whichever the schedule.
func TestOneHoldsHobsLock(t *testing.T) {
	for _, s := range schedules {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			var told bytes.Buffer
			holders, err := perform(&told, s.hobs())
			require.NoError(t, err)
			require.Equal(t, []string{"B"}, holders, told.String())
			require.Contains(t, told.String(), "is refused the lock", "C came last")
		})
	}
}

// TestHobsLockIsNoneOnceItsFileIsRemoved: where somebody else removes the file, who has locked what has no name any more does not work.
func TestHobsLockIsNoneOnceItsFileIsRemoved(t *testing.T) {
	s := schedules[0].hobs()
	s.acts[3].what = doUnlink
	var told bytes.Buffer
	holders, err := perform(&told, s)
	require.NoError(t, err)
	require.Equal(t, []string{"C"}, holders, told.String())
	require.Contains(t, told.String(), "not the lock any more")
}

// TestProgramTellsAll runs what a person sees.
func TestProgramTellsAll(t *testing.T) {
	var told bytes.Buffer
	require.NoError(t, show(&told))
	require.Equal(t, 2, bytes.Count(told.Bytes(), []byte("=> two workers hold the lock")), told.String())
	require.Equal(t, 2, bytes.Count(told.Bytes(), []byte("=> one worker holds the lock")), told.String())
}
