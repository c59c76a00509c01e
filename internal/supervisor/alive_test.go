package supervisor

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// TestOldCheckerHasNoSay: a check that was under way when the file got other settings is not counted, else the service would be unready for ever: the
// next checker has never seen it fail.
func TestOldCheckerHasNoSay(t *testing.T) {
	s := testSupervisor(t).with(map[string][]string{"web": nil})
	v := s.all["web"]
	v.st.Generation, v.st.Alive = 1, service.Alive{Exec: []string{"true"}, Every: time.Hour, Fails: 1}
	v.publishAs(service.Running)
	v.keepChecking()
	old := v.checker
	v.keepChecking()
	defer v.stopChecking()
	sick := event{kind: evSick, generation: 1, by: old, err: errors.New("exit 1")}
	v.handle(sick)
	require.Equal(t, service.Running, v.st.State)
	sick.by = v.checker
	v.handle(sick)
	require.Equal(t, service.Unready, v.st.State)
	v.handle(event{kind: evWell, generation: 1, by: old})
	require.Equal(t, service.Unready, v.st.State)
	v.handle(event{kind: evWell, generation: 1, by: v.checker})
	require.NotEqual(t, service.Unready, v.st.State)
}
