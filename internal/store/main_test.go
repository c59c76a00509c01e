package store

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newInstance gives an instance that has nothing on disk yet.
func newInstance(t *testing.T) instance.Instance {
	t.Helper()
	return instance.Instance{ID: "0123456789abcdef", State: filepath.Join(t.TempDir(), "hob")}
}

func newStore(t *testing.T) (*Store, instance.Instance) {
	t.Helper()
	inst := newInstance(t)
	s, err := New(inst)
	require.NoError(t, err)
	return s, inst
}

func status(name string, env ...string) service.Status {
	return service.Status{Spec: service.Spec{Name: name, Cmd: []string{"sleep", "1000"}, Dir: "/", Env: env, Source: service.SourceRun,
		Stop: service.Stop{Signal: syscall.SIGINT, Timeout: 7}}, State: service.Running, Want: service.Up, Pid: 42, Start: 43, Generation: 2}
}

func save(t *testing.T, s *Store, all ...service.Status) {
	t.Helper()
	for _, st := range all {
		require.NoError(t, s.Save(st))
	}
}

func load(t *testing.T, s *Store) ([]service.Status, []error) {
	t.Helper()
	all, bad, err := s.Load()
	require.NoError(t, err)
	return all, bad
}

func serviceNames(all []service.Status) []string {
	list := []string{}
	for _, st := range all {
		list = append(list, st.Name)
	}
	return list
}

func files(t *testing.T, inst instance.Instance, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(inst.Path(dir))
	require.NoError(t, err)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
