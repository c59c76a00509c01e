package supervisor

import (
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

func testSupervisor(t *testing.T) *Supervisor {
	dir := t.TempDir()
	s, err := New(Options{ID: "test", Root: dir, Logs: dir, FIFOs: dir, Locks: dir, Notify: dir, Store: nowhere{},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	t.Cleanup(s.poller.Close)
	return s
}

// with adds services that do not run: a name, and what it needs.
func (s *Supervisor) with(graph map[string][]string) *Supervisor {
	for name, needed := range graph {
		st := service.Status{Spec: service.Spec{Name: name}, State: service.Stopped}
		for _, n := range needed {
			st.Needs = append(st.Needs, service.Need{Name: n, For: service.NeedReady})
		}
		s.all[name] = makeSvc(s, st)
	}
	return s
}

var graphs = map[string]map[string][]string{
	"alone":    {"a": nil, "b": nil},
	"a chain":  {"a": {"b"}, "b": {"c"}, "c": nil},
	"diamond":  {"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": nil},
	"circle":   {"a": {"b"}, "b": {"c"}, "c": {"a"}},
	"itself":   {"a": {"a"}},
	"unknown":  {"a": {"zz"}},
	"circle 2": {"a": {"b"}, "b": {"a"}, "c": {"a"}},
}

// TestOrderHasNeedsFirst, and has everybody once, also where there is a circle.
func TestOrderHasNeedsFirst(t *testing.T) {
	for name, graph := range graphs {
		s := testSupervisor(t).with(graph)
		var names []string
		for n := range graph {
			names = append(names, n)
		}
		slices.Sort(names)
		order := sorted(names, func(n string) []service.Need { return s.all[n].st.Needs })
		require.ElementsMatch(t, names, order, name)
		if name == "circle" || name == "circle 2" || name == "itself" {
			continue
		}
		for n, needed := range graph {
			for _, m := range needed {
				if m != "zz" {
					require.Less(t, slices.Index(order, m), slices.Index(order, n), "%s: %s needs %s", name, n, m)
				}
			}
		}
	}
}

// TestClosureEnds and names what is needed once, the needs of each before it.
func TestClosureEnds(t *testing.T) {
	for name, want := range map[string][]string{"alone": nil, "a chain": {"c", "b"}, "diamond": {"d", "b", "c"}, "circle": {"c", "b"},
		"itself": nil, "unknown": {"zz"}, "circle 2": {"b"}} {
		var got []string
		for _, n := range testSupervisor(t).with(graphs[name]).closure("a") {
			got = append(got, n.Name)
		}
		require.Equal(t, want, got, name)
	}
}

// TestStopAllEndsOnCircles: nothing may hang on them.
func TestStopAllEndsOnCircles(t *testing.T) {
	for name, graph := range graphs {
		s := testSupervisor(t).with(graph)
		for _, v := range s.all {
			go v.loop()
		}
		stopped, err := s.StopAll(t.Context(), false)
		require.NoError(t, err)
		require.Len(t, stopped, len(graph), name)
		s.Close()
	}
}

// TestMissing says what becomes of a start by what the needed service does.
func TestMissing(t *testing.T) {
	for _, c := range []struct {
		state service.State
		want  service.Want
		need  service.Condition
		is    string // met, open or down
	}{
		{service.Ready, service.Up, service.NeedReady, "met"}, {service.Running, service.Up, service.NeedReady, "met"},
		{service.Starting, service.Up, service.NeedReady, "open"}, {service.Waiting, service.Up, service.NeedReady, "open"},
		{service.Backoff, service.Up, service.NeedReady, "open"}, {service.Stopping, service.Up, service.NeedReady, "open"},
		{service.Stopping, service.Down, service.NeedReady, "down"}, {service.Stopped, service.Down, service.NeedReady, "down"},
		{service.Failed, service.Up, service.NeedReady, "down"}, {service.Done, service.Up, service.NeedReady, "down"},
		{service.Done, service.Up, service.NeedDone, "met"}, {service.Done, service.Down, service.NeedDone, "down"},
		{service.Running, service.Up, service.NeedDone, "open"}, {service.Ready, service.Up, service.NeedDone, "open"},
		{service.Starting, service.Up, service.NeedDone, "open"}, {service.Failed, service.Up, service.NeedDone, "down"},
	} {
		s := testSupervisor(t)
		s.all["db"] = makeSvc(s, service.Status{Spec: service.Spec{Name: "db"}, State: c.state, Want: c.want})
		open, down := s.missing([]service.Need{{Name: "db", For: c.need}})
		is := "met"
		if open != "" {
			is = "open"
		}
		if down != "" {
			is = "down"
		}
		require.Equal(t, c.is, is, "%+v: %s%s", c, open, down)
	}
	_, down := testSupervisor(t).missing([]service.Need{{Name: "nobody"}})
	require.Equal(t, "nobody, which is not known", down)
}
