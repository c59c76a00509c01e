//go:build linux

package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

// eventsOf decodes what hob events has printed so far.
func eventsOf(t *testing.T, f *follower) []api.Event {
	var all []api.Event
	for line := range strings.Lines(f.text()) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var ev api.Event
		require.NoError(t, json.Unmarshal([]byte(line), &ev), line)
		require.Equal(t, api.V, ev.V)
		require.False(t, ev.Time.IsZero())
		all = append(all, ev)
	}
	return all
}

// story gives the events of one service or of the daemon in short.
func story(t *testing.T, f *follower, name string) string {
	var words []string
	for _, ev := range eventsOf(t, f) {
		if ev.Service == name {
			words = append(words, strings.TrimPrefix(ev.Type, "service.")+" "+ev.From+">"+ev.To)
		}
	}
	return strings.Join(words, ", ")
}

// TestEventsTellEveryChange: a snapshot, then each change, through the end of a daemon and with the next one.
func TestEventsTellEveryChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("events")
	w.ok("run", "web", "--", "sleep", "1000")
	w.eventually("it has begun", func() bool { return strings.HasSuffix(story(t, f, "web"), ">running") })
	pid := w.list()["web"].Pid
	w.kill(pid, syscall.SIGKILL)
	w.eventually("the restart is told", func() bool { return strings.HasSuffix(story(t, f, "web"), "running>starting, state starting>running") })
	w.ok("stop", "web")
	w.eventually("the stop is told", func() bool {
		return strings.HasSuffix(story(t, f, "web"), "state running>stopping, state stopping>stopped")
	})
	w.ok("rm", "web")
	w.eventually("that it is forgotten is told", func() bool { return strings.HasSuffix(story(t, f, "web"), "removed stopped>") })
	w.ok("run", "next", "--", "sleep", "1000")
	w.ok("daemon", "restart", unhurried)
	w.eventually("the next daemon is told of, and what it has", func() bool {
		return strings.HasSuffix(story(t, f, ""), "ready>absent, daemon.state absent>ready") &&
			strings.HasSuffix(story(t, f, "next"), "snapshot >running")
	})
	w.ok("down")
	w.eventually("the end is told", func() bool { return strings.HasSuffix(story(t, f, ""), "daemon.state ready>absent") })
	require.Zero(t, w.pid(), "watching starts no daemon")
	f.signal(syscall.SIGINT)
	require.Zero(t, f.wait(), f.stderr.String())
}

// TestEventsOfASlowReaderHoldNobodyUp: services go on, and the reader is told how things are when it reads again.
func TestEventsOfASlowReaderHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	f := w.follow("events")
	f.until(`service.snapshot`)
	f.signal(syscall.SIGSTOP)
	for range 20 {
		w.ok("restart", "web")
	}
	pid := w.list()["web"].Pid
	f.signal(syscall.SIGCONT)
	w.eventually("it catches up", func() bool {
		all := eventsOf(t, f)
		last := all[len(all)-1]
		return last.To == "running" && last.Pid == pid
	})
}
