package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEveryPeerIsNamedWithAWayToGetIt is for the line about those that are not installed.
func TestEveryPeerIsNamedWithAWayToGetIt(t *testing.T) {
	t.Parallel()
	for _, p := range peers {
		require.NotEmpty(t, p.name)
		require.NotEmpty(t, p.programs, p.name)
		require.NotEmpty(t, p.get, p.name)
	}
	p := peer{name: "x", programs: []string{"sh", "there-is-no-such-program"}, get: "buy it", rig: func(*rig) {}}
	require.Equal(t, "there is no there-is-no-such-program (buy it)", p.absent())
	p.programs = []string{"sh"}
	require.Empty(t, p.absent())
}

func TestEveryLoggerBelongsToARig(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"hob": true}
	for _, p := range peers {
		known[p.name] = true
	}
	for name := range loggers {
		require.True(t, known[name], name)
	}
}

func TestRushesSayTheirWorst(t *testing.T) {
	t.Parallel()
	for text, s := range map[string]rushes{
		"1 daemon, 0 of 20 clients failed":        {daemons: []int{1, 1}},
		"8 daemons, 3 of 20 clients failed":       {daemons: []int{8, 8}, failed: 3},
		"1 to 17 daemons, 0 of 20 clients failed": {daemons: []int{1, 17, 1}},
		"0 daemons, 20 of 20 clients failed":      {daemons: []int{0}, failed: 20},
		"0 to 1 daemons, 10 of 20 clients failed": {daemons: []int{1, 0}, failed: 10},
	} {
		require.Equal(t, text, s.text(20))
	}
}

// TestTablesCompareWithHob: its line is the first, and those who did not take part have none.
func TestTablesCompareWithHob(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := options{report: &report{out: &out}}
	hob, slow, none := &rig{name: "hob"}, &rig{name: "slow"}, &rig{name: "none"}
	o.table("a job", []*rig{hob, slow, none}, map[*rig]sample{
		hob:  {3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond},
		slow: {5 * time.Millisecond, 9 * time.Millisecond, 4 * time.Millisecond},
	}, map[*rig]string{slow: "2 daemons"})
	var lines [][]string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Fields(line))
	}
	require.Equal(t, [][]string{
		{},
		{"a", "job", "min", "median", "max", "×", "hob"},
		{"hob", "1ms", "2ms", "3ms", "1.00"},
		{"slow", "4ms", "5ms", "9ms", "2.50", "2", "daemons"},
	}, lines)
}

// TestMembersAreKnownByTheirMark: neither a rig beside it nor a service among its daemons is taken for one.
func TestMembersAreKnownByTheirMark(t *testing.T) {
	t.Parallel()
	needProc(t)
	one, other := stage(t, "one", "sleep"), stage(t, "other", "sleep")
	for _, argv := range [][]string{{"sleep", "1000"}, {"tail", "-f", "/dev/null"}} {
		for _, r := range []*rig{one, other} {
			cmd := r.command(context.Background(), argv)
			require.NoError(t, cmd.Start())
			go func() { _ = cmd.Wait() }()
		}
	}
	require.Eventually(t, func() bool {
		return len(one.members()) == 2 && len(one.daemons()) == 1 && len(other.members()) == 2
	}, time.Minute, time.Millisecond)
	require.NoError(t, one.end(t.Context()))
	require.Empty(t, one.members())
	require.Len(t, other.members(), 2)
}

// TestMarkIsTheWholeDirectory: whoever is marked is killed, so that a part of a name, or nothing, must not do.
func TestMarkIsTheWholeDirectory(t *testing.T) {
	t.Parallel()
	const dir = "/tmp/a/ask/s6"
	for environ, want := range map[string]bool{
		"HOME=" + dir + "\x00":               true,
		"A=b\x00HOME=" + dir + "\x00C=d\x00": true,
		"":                                   false,
		"HOME=\x00":                          false,
		"HOME=/root\x00":                     false,
		"HOME=" + dir + "0\x00":              false,
		"HOME=/tmp/a\x00":                    false,
		"OLD_HOME=" + dir + "\x00":           false,
		"A=HOME=" + dir + "\x00":             false,
	} {
		require.Equal(t, want, marked([]byte(environ), dir), "%q", environ)
	}
	require.False(t, marked([]byte("HOME=\x00"), ""))
	require.False(t, marked([]byte("HOME=here\x00"), "here"))
}

func TestStartIsReadBehindAnyName(t *testing.T) {
	t.Parallel()
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for _, name := range []string{"(sh)", "(tmux: server)", "(a) S 1 (b)"} {
		require.EqualValues(t, 4711, startOf([]byte("42 "+name+rest)), name)
	}
	require.Zero(t, startOf(nil))
	require.Zero(t, startOf([]byte("42 (sh) Z 1")))
}

// TestPeersStartAnswerAndEnd: each that is installed starts, says that it is there, keeps its services with as many
// daemons as it has, and leaves nobody.
func TestPeersStartAnswerAndEnd(t *testing.T) {
	t.Parallel()
	needProc(t)
	if testing.Short() {
		t.Skip("starts every peer")
	}
	daemons := map[string]int{"tmux": 1, "watchman": 1, "supervisord": 1, "runit": 1 + crowd, "s6": 1 + crowd, "pm2": 1}
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if why := p.absent(); why != "" {
				t.Skip(why)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := p.newRig(shortDir(t), "")
			require.NoError(t, err)
			defer func() {
				require.NoError(t, r.end(context.WithoutCancel(ctx)))
				require.Empty(t, r.members())
			}()
			require.NoError(t, r.fill(func(int) []string { return []string{"sleep", "1000"} }))
			require.NoError(t, r.start(ctx))
			_, err = r.time(ctx, r.ask)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return len(r.daemons()) == daemons[p.name] }, patience, 10*time.Millisecond)
			sum, err := r.pss()
			require.NoError(t, err)
			require.Positive(t, sum)
		})
	}
}

// stage is a rig of nobody, whose daemons are called so.
func stage(t *testing.T, name, daemon string) *rig {
	r, err := peer{name: name, rig: func(r *rig) { r.daemon = daemon }}.newRig(shortDir(t), "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.end(context.Background())) })
	return r
}

// shortDir is one whose sockets' paths are short enough.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "rig")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func needProc(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("processes are known by /proc/PID/environ")
	}
}
