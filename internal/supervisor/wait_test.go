package supervisor

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// TestWhatHasEndedIsNotUp: also when its time is over before its end is dealt with.
func TestWhatHasEndedIsNotUp(t *testing.T) {
	s := testSupervisor(t).with(map[string][]string{"web": nil})
	v := s.all["web"]
	p, err := process.Start(process.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "read x"}, Dir: "/"})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Release()) }()
	require.Eventually(t, p.Exited, time.Minute, time.Millisecond, "stdin is /dev/null")
	v.proc, v.st.Generation = p, 1
	v.publishAs(service.Starting)
	v.handle(event{kind: evSettled, generation: 1})
	require.Equal(t, service.Starting, v.st.State)
	v.proc = nil
}

// TestTheEndOfTheRunThatWas is told, also when somebody asks for it after the next one has begun.
func TestTheEndOfTheRunThatWas(t *testing.T) {
	s := testSupervisor(t).with(map[string][]string{"web": nil})
	v := s.all["web"]
	v.st.Generation = 1
	v.publishAs(service.Running)
	began, err := s.Status("web")
	require.NoError(t, err)
	v.st.Exits = []service.Exit{{Code: 7, Generation: 1}}
	v.st.Generation = 2
	v.publishAs(service.Running)

	st, err := s.WaitExitOf(context.Background(), began)
	require.NoError(t, err)
	require.Equal(t, service.Failed, st.State)
	require.Equal(t, 7, st.Exit.Code)

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.WaitExit(ended, "web")
	require.ErrorIs(t, err, context.Canceled, "the second one runs")
	_, err = s.WaitExitOf(ended, service.Status{Spec: service.Spec{Name: "nobody"}})
	require.ErrorIs(t, err, ErrNoSuchService)
}
