package supervisor

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

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
