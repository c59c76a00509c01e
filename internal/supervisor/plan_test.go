package supervisor

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// TestEachStartsAfterWhatItNeeds: many at a time, but no more than there are processors, and whatever they need before them.
func TestEachStartsAfterWhatItNeeds(t *testing.T) {
	t.Parallel()
	for range 20 {
		specs := map[string]*service.Spec{}
		var inOrder []*svc
		for i := range 60 {
			name := fmt.Sprint("s", i)
			spec := &service.Spec{Name: name}
			for range rand.IntN(3) {
				if i > 0 {
					spec.Needs = append(spec.Needs, service.Need{Name: fmt.Sprint("s", rand.IntN(i))})
				}
			}
			spec.Needs = append(spec.Needs, service.Need{Name: "elsewhere"}) // not among them
			specs[name] = spec
			inOrder = append(inOrder, &svc{name: name})
		}
		var mu sync.Mutex
		var over []string
		running := 0
		atOnce(inOrder, specs, func(v *svc) {
			mu.Lock()
			running++
			most, before := running, slices.Clone(over)
			mu.Unlock()
			assert.LessOrEqual(t, most, runtime.GOMAXPROCS(0))
			for _, n := range specs[v.name].Needs {
				assert.True(t, n.Name == "elsewhere" || slices.Contains(before, n.Name), "%s needs %s", v.name, n.Name)
			}
			mu.Lock()
			running--
			over = append(over, v.name)
			mu.Unlock()
		})
		require.Len(t, over, len(inOrder))
	}
}

// TestARunThatBeganMeanwhileIsWhatItIs: settings that mean another run do not pass for those of one that somebody has started since they were compared with
// what there was. It is replaced.
func TestARunThatBeganMeanwhileIsWhatItIs(t *testing.T) {
	t.Parallel()
	s := testSupervisor(t).with(map[string][]string{"web": nil})
	v := s.all["web"]
	v.publishAs(service.Stopped)
	v.st.Source, v.st.Cmd, v.st.State, v.st.Generation = service.SourceFile, []string{"old"}, service.Running, 1 // and nobody has been told yet
	go v.loop()
	defer v.close()
	_, restart, err := s.learn(service.Spec{Name: "web", Source: service.SourceFile, Cmd: []string{"new"}})
	require.NoError(t, err)
	require.True(t, restart)
	require.Equal(t, []string{"old"}, v.status().Cmd)
}
