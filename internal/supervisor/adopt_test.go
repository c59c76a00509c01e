package supervisor

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// ended is a process that is not there any more.
func ended(t *testing.T) process.ID {
	p, err := process.Start(process.Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 3"}, Dir: "/"})
	require.NoError(t, err)
	<-p.Done()
	require.NoError(t, p.Release())
	return p.ID()
}

// TestNothingStartsInAHalfKnownWorld: what a service needs is there or not by what has become of that, and not by what was written last, however long the
// look at it takes.
func TestNothingStartsInAHalfKnownWorld(t *testing.T) {
	s, id := testSupervisor(t), ended(t)
	db := service.Status{Spec: service.Spec{Name: "db", Cmd: []string{"/nonexistent/db"}, Dir: "/", Restart: service.RestartNo}, State: service.Running,
		Want: service.Up, Generation: 1, Pid: id.Pid, Start: id.Start, Boot: id.Boot}
	web := service.Status{Spec: service.Spec{Name: "web", Cmd: []string{"/nonexistent/web"}, Dir: "/", Needs: []service.Need{{Name: "db", For: service.NeedReady}}},
		State: service.Backoff, Want: service.Up, Generation: 1, Boot: id.Boot, NextTry: time.Now()}
	require.NoError(t, os.WriteFile(s.logDir("db"), nil, 0o600), "no log can be opened there, which is tried for a while")
	require.NoError(t, s.Adopt([]service.Status{web, db}, nil))
	defer s.Close()
	st, err := s.all["web"].await(t.Context(), func(st service.Status) bool { return st.State != service.Backoff })
	require.NoError(t, err)
	require.Equal(t, service.Waiting, st.State, st.Why)
	require.Equal(t, "for db, which is failed, exit unknown while hobd was down", st.Why)
}

// TestWhatCouldNotBeStoppedEndsUnseen: it is not said for ever.
func TestWhatCouldNotBeStoppedEndsUnseen(t *testing.T) {
	s := testSupervisor(t).with(map[string][]string{"web": nil})
	v := s.all["web"]
	v.st.State, v.st.Why, v.st.Pid, v.st.Generation = service.Failed, cantStop+"pid 42 (sleep, state D) left after SIGKILL", 42, 1
	v.adopt(nil, nil)
	require.Equal(t, []any{service.Failed, "exit unknown", 0, false}, []any{v.st.State, v.st.Why, v.st.Pid, v.outlived})
}
