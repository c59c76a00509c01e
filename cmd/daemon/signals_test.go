package daemon

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNoRequestIsDroppedForOtherSignals: however many come while nobody handles any, and the Go runtime sends itself some all the time.
func TestNoRequestIsDroppedForOtherSignals(t *testing.T) {
	s := catch()
	s.catchRest()
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	for range 200 {
		for _, sig := range []os.Signal{syscall.SIGCHLD, syscall.SIGURG, syscall.SIGUSR1} {
			require.NoError(t, self.Signal(sig))
		}
		time.Sleep(100 * time.Microsecond) // else several become one
	}
	require.NoError(t, self.Signal(syscall.SIGTERM))
	stopped, reaped := make(chan string, 1), 0
	go s.serve(reactions{stop: func(name string) { stopped <- name }, child: func() { reaped++ }})
	require.Equal(t, "terminated", <-stopped)
	s.end()
	require.Positive(t, reaped)
}
