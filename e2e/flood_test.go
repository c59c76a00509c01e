//go:build linux

package e2e

import (
	"strings"

	"testing"

	"github.com/stretchr/testify/require"
)

// flood writes faster than anybody reads, as long as the file stays away.
const flood = `(while [ ! -e quiet ]; do yes | head -c 10000000; done) `

// TestFloodHoldsNobodyUp: who waits for something of a log ends with its time, or with the run, also
// where there is a next line at once, for ever.
func TestFloodHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.touch("quiet")
	limits := `log = { max = "1MB", keep = 1 }`
	w.toml(`[services.never]
run = '` + flood + `'
ready = { log = "never", timeout = "2s" }
` + limits + "\n")
	e := w.failure(1, "up")
	require.Contains(t, e.Message, "not ready after 2s")

	w.toml("[services.flood]\nrun = '" + flood + "'\n" + limits + "\n")
	w.ok("up")
	// A hobd that can't answer in that time, beside all that, is an end, too.
	ends := []int{124, 1}
	require.Contains(t, ends, w.hob("wait", "flood", "--for", "log:never", "--timeout", "2s").code)
	w.ok("stop", "flood")
	cmd := w.command("run", "--wait", "--timeout", "2s", "flooding", "--", "sh", "-c", flood)
	cmd.Args = append([]string{"sh", "-c", `exec "$0" "$@" >/dev/null`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	f := w.start(cmd)
	require.Contains(t, ends, f.wait(), f.stderr.String())
	if w.hob("stop", "flooding").code != 0 {
		require.NotContains(t, w.list(), "flooding") // the time was over before it was run
	}

	// The leader ends, and what is left of its tree writes on.
	stray := func(status string) []string { return []string{"sh", "-c", "echo first; " + flood + "& exit " + status} }
	require.Equal(t, 3, w.follow(append([]string{"run", "--wait", "job", "--"}, stray("3")...)...).wait())
	w.ok("stop", "job")
	// It never is what --find waits for, so that its end decides, however late that is.
	r := w.hob(append([]string{"run", "--find", "died", "--"}, stray("1")...)...)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, `service "died": exit 1`)
	require.LessOrEqual(t, strings.Count(r.stderr, "\n"), 30)
	e = w.failure(3, "wait", "died", "--for", "log:never")
	require.Contains(t, e.Message, "no line matched")
	w.touch("quiet")
}
