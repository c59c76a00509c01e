//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keys are those of a kind of document: what is always there, and what may be.
type keys struct{ always, maybe []string }

var (
	serviceKeys = keys{
		always: strings.Fields("name state want pid started_at ready_at uptime_ms restarts adopted generation exit cpu_percent rss_bytes addr why cmd dir source"),
		maybe:  strings.Fields("pids env_drift killed log_lost_bytes unsaved log_start log_end needs restart next_try env_at env_set exits"),
	}
	daemonKeys   = keys{always: strings.Fields("state pid id project socket lock log version protocol started_at connections")}
	instanceKeys = keys{always: append(slices.Clone(daemonKeys.always), "services"), maybe: []string{"name"}}
	exitKeys     = keys{always: strings.Fields("code signal at")}
	factKeys     = keys{always: strings.Fields("name value ok"), maybe: []string{"hint"}}
	errorKeys    = keys{always: strings.Fields("code message"), maybe: []string{"hint"}}
	lineKeys     = keys{always: strings.Fields("v time service line"), maybe: []string{"partial"}}
	markKeys     = keys{always: strings.Fields("segment offset")}
)

// check fails the test when the object has other keys than k.
func (k keys) check(t *testing.T, what string, object any) map[string]any {
	t.Helper()
	m, ok := object.(map[string]any)
	require.True(t, ok, "%s is %T", what, object)
	for _, key := range k.always {
		require.Contains(t, m, key, what)
	}
	for key := range m {
		require.True(t, slices.Contains(k.always, key) || slices.Contains(k.maybe, key), "%s has an undocumented key %q", what, key)
	}
	return m
}

func checkService(t *testing.T, object any) {
	t.Helper()
	s := serviceKeys.check(t, "service", object)
	require.Contains(t, strings.Fields("waiting starting ready running backoff stopping stopped done failed"), s["state"])
	require.Contains(t, []any{"up", "down"}, s["want"])
	require.Contains(t, []any{"run", "hob.toml", "Procfile"}, s["source"])
	for _, key := range strings.Fields("pid uptime_ms restarts adopted generation rss_bytes") {
		checkInteger(t, key, s[key])
	}
	for _, key := range []string{"started_at", "ready_at"} {
		if s[key] != nil {
			checkTime(t, s[key])
		}
	}
	require.IsType(t, []any{}, s["cmd"])
	if s["exit"] != nil {
		e := exitKeys.check(t, "exit", s["exit"])
		checkInteger(t, "exit code", e["code"])
		checkTime(t, e["at"])
	}
	if s["log_start"] != nil {
		markKeys.check(t, "log_start", s["log_start"])
	}
}

func checkDaemon(t *testing.T, k keys, object any) {
	t.Helper()
	d := k.check(t, "daemon", object)
	require.Regexp(t, `^[a-z]+$`, d["state"])
	require.Regexp(t, `^[0-9a-f]{16}$`, d["id"])
	for _, key := range []string{"pid", "protocol", "connections"} {
		checkInteger(t, key, d[key])
	}
	for _, key := range []string{"project", "socket", "lock", "log"} {
		require.Regexp(t, `^/`, d[key], key)
	}
	if d["state"] == "ready" {
		checkTime(t, d["started_at"])
		require.NotEmpty(t, d["version"])
	}
}

func checkInteger(t *testing.T, what string, value any) {
	t.Helper()
	n, ok := value.(json.Number)
	require.True(t, ok, "%s is %T", what, value)
	_, err := n.Int64()
	require.NoError(t, err, what)
}

// checkTime wants RFC 3339 in UTC.
func checkTime(t *testing.T, value any) {
	t.Helper()
	text, _ := value.(string)
	_, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(text, "Z"), text)
}

// checkDocument checks one document of a command; want are the keys beside "v", as listed.
func checkDocument(t *testing.T, text string, want ...string) map[string]any {
	t.Helper()
	require.Equal(t, 1, strings.Count(text, "\n"), "one document on one line: %q", text)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var doc map[string]any
	require.NoError(t, dec.Decode(&doc), text)
	require.Equal(t, json.Number("1"), doc["v"])
	keys{always: append(want, "v")}.check(t, "document", doc)
	for key, value := range doc {
		switch key {
		case "daemon":
			checkDaemon(t, daemonKeys, value)
		case "service":
			checkService(t, value)
		case "services":
			for _, s := range value.([]any) {
				checkService(t, s)
			}
		case "instances":
			for _, i := range value.([]any) {
				checkDaemon(t, instanceKeys, i)
			}
		case "facts":
			for _, f := range value.([]any) {
				factKeys.check(t, "fact", f)
			}
		case "error":
			e := errorKeys.check(t, "error", value)
			require.NotEmpty(t, e["message"])
		}
	}
	return doc
}

// TestEveryCommandInJSON: with --json every command prints exactly the documented keys.
func TestEveryCommandInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all, one := []string{"daemon", "services"}, []string{"daemon", "services", "service"}
	daemon, list := []string{"daemon"}, []string{"instances"}
	for _, c := range []struct {
		line string
		code int
		keys []string
	}{
		{"ps", 0, all}, {"down", 0, all}, {"list", 0, list}, {"prune", 0, list}, {"daemon status", 3, daemon},
		{"daemon ping", 3, daemon}, {"daemon stop", 0, daemon}, {"doctor", 0, []string{"ok", "facts"}}, {"version", 0, []string{"version"}},
		{"run web -- sleep 1000", 0, one}, {"run web -- sleep 1000", 0, one}, {"run --replace web -- sleep 1001", 0, one},
		{"run once -- true", 0, one}, {"run --no-wait fast -- sleep 1000", 0, one},
		{"", 0, all}, {"ps", 0, all}, {"ps web", 0, one}, {"ps web once", 0, all}, {"status once", 0, one},
		{"start web", 0, one}, {"start web fast", 0, all}, {"restart web", 0, one}, {"restart web fast", 0, all},
		{"wait web", 0, one}, {"wait once --for exit", 0, one}, {"kill -s CONT web", 0, one}, {"kill -s CONT web fast", 0, all},
		{"stop web", 0, one}, {"stop web", 0, one}, {"stop web fast", 0, all}, {"start web", 0, one},
		{"daemon status", 0, daemon}, {"daemon ping", 0, daemon}, {"daemon start", 0, daemon}, {"daemon restart", 0, daemon},
		{"list", 0, list}, {"ls", 0, list}, {"prune", 0, list}, {"doctor", 0, []string{"ok", "facts"}}, {"version", 0, []string{"version", "daemon"}},
		{"rm once", 0, one}, {"daemon stop", 0, daemon}, {"ps", 0, all}, {"ps web", 0, one}, {"stop web", 0, one},
		{"start web", 0, one}, {"down", 0, all}, {"down", 0, all}, {"ps", 0, all},
	} {
		r := w.hob(append([]string{"--json", "-q"}, strings.Fields(c.line)...)...)
		require.Equal(t, c.code, r.code, "hob %s: %s%s", c.line, r.stdout, r.stderr)
		require.Empty(t, r.stderr, "hob %s", c.line)
		checkDocument(t, r.stdout, c.keys...)
	}
}

// TestEveryErrorInJSON: the error is a document on stdout, with the exit code that it has without
// --json, and there are no words beside it.
func TestEveryErrorInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sleep", "1000")
	w.hob("run", "bad", "--", "/nonexistent")
	for _, c := range []struct {
		line, error string
		code        int
	}{
		{"nonsense", "usage", 2}, {"ps --nonsense", "usage", 2}, {"run", "usage", 2}, {"run web sleep", "usage", 2}, {"run a/b -- true", "usage", 2},
		{"stop", "usage", 2}, {"start", "usage", 2}, {"restart", "usage", 2}, {"rm", "usage", 2}, {"kill web", "usage", 2}, {"wait", "usage", 2},
		{"kill -s NOTHING web", "usage", 2}, {"wait web --for nothing", "usage", 2}, {"wait web --for log:(", "usage", 2}, {"down now", "usage", 2},
		{"list now", "usage", 2}, {"prune now", "usage", 2}, {"doctor now", "usage", 2}, {"version now", "usage", 2}, {"daemon", "usage", 2},
		{"daemon nonsense", "usage", 2}, {"daemon ping now", "usage", 2}, {"completion tcsh", "usage", 2}, {"logs --since never", "usage", 2},
		{"help nonsense", "usage", 2}, {"--timeout x ps", "usage", 2}, {"--color x ps", "usage", 2},
		{"ps nothing", "no_such_service", 4}, {"stop nothing", "no_such_service", 4}, {"start nothing", "no_such_service", 4},
		{"restart nothing", "no_such_service", 4}, {"rm nothing", "no_such_service", 4}, {"kill -s TERM nothing", "no_such_service", 4},
		{"wait nothing", "no_such_service", 4}, {"logs nothing", "no_such_service", 4},
		{"run web -- sleep 2000", "name_taken", 1}, {"run died -- /nonexistent", "start_failed", 1}, {"start bad", "start_failed", 1},
		{"restart bad", "start_failed", 1}, {"rm web", "busy", 1}, {"kill -s TERM bad", "not_running", 3}, {"wait bad", "not_running", 3},
		{"wait web --for exit --timeout 1s", "timeout", 124}, {"-C /nonexistent ps", "no_project", 1},
	} {
		words := strings.Fields(c.line)
		r := w.hob(append([]string{"--json"}, words...)...)
		require.Equal(t, c.code, r.code, "hob %s: %s%s", c.line, r.stdout, r.stderr)
		require.Empty(t, r.stderr, "hob %s", c.line)
		e := checkDocument(t, r.stdout, "error")["error"].(map[string]any)
		require.Equal(t, c.error, e["code"], "hob %s: %v", c.line, e)
		plain := w.hob(words...)
		require.Equal(t, c.code, plain.code, "hob %s: %s", c.line, plain.stderr)
		require.Contains(t, plain.stderr, "hob: ")
		require.Empty(t, plain.stdout, "hob %s", c.line)
	}
	w.ok("down")
	r := w.hob("--json", "--no-spawn", "run", "web", "--", "sleep", "1000")
	require.Equal(t, 3, r.code)
	require.Equal(t, "not_running", checkDocument(t, r.stdout, "error")["error"].(map[string]any)["code"])
}

// checkLine checks an object of "logs".
func checkLine(t *testing.T, text string) map[string]any {
	t.Helper()
	var line any
	require.NoError(t, json.Unmarshal([]byte(text), &line), text)
	m := lineKeys.check(t, "line", line)
	require.EqualValues(t, 1, m["v"])
	checkTime(t, m["time"])
	return m
}

// TestLogLinesInJSON: an object a line, whatever bytes the service wrote.
func TestLogLinesInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "printf", `<one> & "two"\nbad \377 utf\n\033[31mred\033[0m\n\000nul\nopen`)
	w.ok("run", "api", "--", "echo", "three")
	w.haveEnded("web", "api")
	r := w.ok("logs", "--json")
	var lines []string
	for text := range strings.Lines(r.stdout) {
		m := checkLine(t, text)
		lines = append(lines, m["service"].(string)+" "+m["line"].(string))
	}
	require.Equal(t, []string{`web <one> & "two"`, "web bad � utf", "web red", "web nul", "web open", "api three"}, lines)
}

// TestFollowedLinesInJSON: a stream is an object a line, too, at once.
func TestFollowedLinesInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "sh", "-c", "echo one; exec sleep 1000")
	f := w.follow("logs", "-f", "--json", "web")
	f.until(`"line":"one"`)
	f.interrupt()
	checkLine(t, f.text())
}

// TestDocumentsTellTheTruth: the values, where a test can know them.
func TestDocumentsTellTheTruth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	w.ok("run", "--restart=no", "web", "--", "sleep", "1000")
	d := w.doc(0, "ps", "web")
	inst := w.inst()
	require.Equal(t, inst.ID, d.Daemon.ID)
	require.Equal(t, w.project, d.Daemon.Project)
	require.Equal(t, inst.Path("hob.sock"), d.Daemon.Socket)
	require.Equal(t, inst.LockPath(), d.Daemon.Lock)
	require.Equal(t, inst.Path("hobd.log"), d.Daemon.Log)
	require.Equal(t, w.pid(), d.Daemon.Pid)
	require.Equal(t, "ready", d.Daemon.State)
	require.Positive(t, d.Daemon.Connections)
	s := d.Service
	require.Equal(t, []int{s.Pid}, s.Pids)
	require.Equal(t, []string{"sleep", "1000"}, s.Cmd)
	require.Equal(t, "up", s.Want)
	require.Nil(t, s.Exit)
	require.Positive(t, s.RSSBytes)
	require.Positive(t, s.UptimeMS)
	require.False(t, s.StartedAt.Before(began.Add(-time.Second)), s.StartedAt)
	require.True(t, s.ReadyAt.After(*s.StartedAt))
	w.kill(s.Pid, syscall.SIGKILL)
	w.eventually("it is seen", func() bool { return w.doc(0, "ps", "web").Service.State == "failed" })
	s = w.doc(0, "ps", "web").Service
	require.Equal(t, 137, s.Exit.Code)
	require.Equal(t, "SIGKILL", s.Exit.Signal)
	require.Zero(t, s.Pid)
	require.Zero(t, s.UptimeMS)
	require.Nil(t, s.ReadyAt)
	require.Equal(t, "absent", w.doc(0, "down").Daemon.State)
}

// TestHelpNamesOnlyWhatIsThere: every command that a help text or an example names can be called,
// and what is only planned is not named.
func TestHelpNamesOnlyWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.snapshot()
	root := w.ok("help").stdout
	require.Equal(t, root, w.ok("--help").stdout)
	commands := listed(root)
	require.Greater(t, len(commands), 10)
	texts := []string{root}
	for _, name := range commands {
		text := w.ok("help", name).stdout
		require.Equal(t, text, w.ok(name, "--help").stdout, name)
		texts = append(texts, text)
		for _, sub := range listed(text) {
			texts = append(texts, w.ok(name, sub, "--help").stdout)
		}
	}
	named := regexp.MustCompile(`\bhob ([a-z_]+)\b`)
	for _, text := range texts {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			require.Contains(t, append(commands, "help"), m[1], text)
		}
	}
	for _, planned := range strings.Fields("export sentry") {
		require.NotContains(t, commands, planned)
		require.Equal(t, 2, w.hob(planned).code, planned)
		for _, text := range texts {
			require.NotRegexp(t, `(?m)(hob |^  )`+planned+`\b`, text)
		}
	}
	require.Equal(t, before, w.snapshot(), "help creates nothing")
}

// listed are the commands that a help text lists.
func listed(help string) []string {
	_, rest, _ := strings.Cut(help, "Available Commands:\n")
	var names []string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		names = append(names, strings.Fields(line)[0])
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "help" })
}

// TestFullStdout: what can't be written is an error with exit 1, not a success.
func TestFullStdout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("run", "web", "--", "echo", "hello")
	w.haveEnded("web")
	for _, args := range [][]string{{"ps"}, {"ps", "--json"}, {"logs"}, {"list"}, {"doctor"}, {"version"}, {"completion", "bash"}, {"daemon", "status"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		require.NoError(t, err)
		cmd := w.command(args...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		err = cmd.Run()
		full.Close()
		require.Error(t, err, "hob %v", args)
		require.Equal(t, 1, cmd.ProcessState.ExitCode(), "hob %v: %s", args, stderr.String())
		require.Contains(t, stderr.String(), "no space left on device", "hob %v", args)
	}
}
