package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
)

// TestLogsOfSeveralServicesAreMergedByTime: with the name in front, each as wide as the longest.
func TestLogsOfSeveralServicesAreMergedByTime(t *testing.T) {
	p := newProject(t)
	web, db := p.log("web"), p.log("database")
	web.say("one\n")
	db.say("two\n\x1b[31mthree\x1b[0m\n")
	web.say("four\n")
	db.say("five")
	want := "web      | one\ndatabase | two\ndatabase | three\nweb      | four\ndatabase | five\n"
	_, stdout, stderr := p.hob("logs")
	require.Equal(t, want, stdout, stderr)
	_, stdout, _ = p.hob("logs", "web", "database")
	require.Equal(t, want, stdout)
	_, stdout, _ = p.hob("logs", "web")
	require.Equal(t, "one\nfour\n", stdout, "one service needs no name")
	_, stdout, _ = p.hob("logs", "-n", "2")
	require.Equal(t, "web      | four\ndatabase | five\n", stdout)
	_, stdout, _ = p.hob("logs", "-n", "0")
	require.Empty(t, stdout)
	_, stdout, _ = p.hob("logs", "-g", "^t|o", "-n", "2")
	require.Equal(t, "database | three\nweb      | four\n", stdout, "colours don't count")
	_, stdout, _ = p.hob("logs", "-t", "-n", "1", "web")
	at, err := time.Parse("2006-01-02T15:04:05.000Z07:00", strings.Fields(stdout)[0])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Hour)
	_, stdout, _ = p.hob("logs", "--color", "always", "database", "-n", "2")
	require.Equal(t, "\x1b[31mthree\x1b[0m\nfive\n", stdout)
	p.untouched()
}

func TestLogsAsJSON(t *testing.T) {
	p := newProject(t)
	web := p.log("web")
	web.say("a \"quoted\" <line>\n\x1b[1mbold\n")
	_, stdout, _ := p.hob("logs", "--json")
	var lines []api.LogLine
	for dec := json.NewDecoder(strings.NewReader(stdout)); dec.More(); {
		var l api.LogLine
		require.NoError(t, dec.Decode(&l))
		require.Equal(t, 1, l.V)
		require.Equal(t, "web", l.Service)
		require.Equal(t, time.UTC, l.Time.Location())
		lines = append(lines, l)
	}
	require.Len(t, lines, 2)
	require.Equal(t, `a "quoted" <line>`, lines[0].Line)
	require.Equal(t, "bold", lines[1].Line)
}

func TestLogsShowTheLastHundredLinesUnlessToldOtherwise(t *testing.T) {
	p := newProject(t)
	web := p.log("web")
	for i := range 250 {
		web.say(fmt.Sprintf("line %d\n", i))
	}
	count := func(args ...string) int {
		_, stdout, stderr := p.hob(append([]string{"logs", "web"}, args...)...)
		require.Empty(t, stderr)
		return strings.Count(stdout, "\n")
	}
	require.Equal(t, 100, count())
	require.Equal(t, 250, count("-n", "1000"))
	require.Equal(t, 250, count("--since", "24h"))
	require.Equal(t, 0, count("--since", time.Now().Add(time.Hour).Format(time.RFC3339)))
	require.Equal(t, 250, count("-g", "line"))
	require.Equal(t, 7, count("--since", "24h", "-n", "7"))
}

// TestLongLinesStayWhole: they are read in parts, and nothing gets between those.
func TestLongLinesStayWhole(t *testing.T) {
	p := newProject(t)
	web, db := p.log("web"), p.log("db")
	long := strings.Repeat("x", 150<<10)
	web.say(long[:70<<10])
	db.say("short\n")
	web.say(long[70<<10:] + "\n")
	_, stdout, _ := p.hob("logs")
	require.Equal(t, "web | "+long+"\ndb  | short\n", stdout)
}

func TestLogsKnowWhatHasNoLogAndWhatHasNoService(t *testing.T) {
	p := newProject(t)
	p.save(status1("silent", service.Stopped, service.Down))
	p.log("forgotten").say("last words\n")
	code, stdout, _ := p.hob("logs", "silent")
	require.Zero(t, code)
	require.Empty(t, stdout)
	_, stdout, _ = p.hob("logs", "forgotten")
	require.Equal(t, "last words\n", stdout)
	for _, name := range []string{"nope", "../log/forgotten", ""} {
		require.Equal(t, "no_such_service", p.failure(4, "logs", name).Code)
	}
}

// buffer is a writer that can be read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// follow runs logs -f until the test ends.
func (p *project) follow(names ...string) *buffer {
	p.t.Helper()
	out := &buffer{}
	a := &app{stdout: out, stderr: out}
	v, err := a.openLogs(names, query{lines: defaultLines})
	require.NoError(p.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := v.showPast()
		if err == nil {
			err = v.follow(ctx)
		}
		ended <- err
	}()
	p.t.Cleanup(func() {
		cancel()
		require.ErrorIs(p.t, <-ended, context.Canceled)
		v.close()
	})
	return out
}

func (p *project) eventually(out *buffer, want string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return out.String() == want }, patience, time.Millisecond, "want %q\nhave %q", want, out)
}

func TestFollowGoesOn(t *testing.T) {
	p := newProject(t)
	web := p.log("web")
	web.say("one\n")
	out := p.follow("web")
	p.eventually(out, "one\n")
	web.say("two\nprompt> ")
	p.eventually(out, "one\ntwo\nprompt> ")
	web.say("answer\n")
	p.eventually(out, "one\ntwo\nprompt> answer\n")
}

// TestFollowOfAllSeesNewServices: also of a project that never had one.
func TestFollowOfAllSeesNewServices(t *testing.T) {
	p := newProject(t)
	out := p.follow()
	p.log("web").say("one\n")
	p.eventually(out, "web | one\n")
	p.log("db").say("two\n")
	p.eventually(out, "web | one\ndb  | two\n")
}

// TestFollowSurvivesARemovedLog: rm and run again under the same name.
func TestFollowSurvivesARemovedLog(t *testing.T) {
	p := newProject(t)
	web := p.log("web")
	web.say("one\n")
	out := p.follow("web")
	p.eventually(out, "one\n")
	require.NoError(t, web.w.Close())
	require.NoError(t, os.RemoveAll(p.inst.Path(instance.LogsName, "web")))
	p.log("web").say("two\n")
	p.eventually(out, "one\ntwo\n")
}

// TestUnfinishedLinesOfSeveralServicesDoNotMix: a prompt is ended before another service's line.
func TestUnfinishedLinesOfSeveralServicesDoNotMix(t *testing.T) {
	p := newProject(t)
	web, db := p.log("web"), p.log("db")
	out := p.follow("web", "db")
	web.say("prompt> ")
	p.eventually(out, "web | prompt> ")
	db.say("line\n")
	p.eventually(out, "web | prompt> \ndb  | line\n")
	web.say("answer\n")
	p.eventually(out, "web | prompt> \ndb  | line\nweb | answer\n")
}

func TestLastWordsAreThoseOfTheRun(t *testing.T) {
	p := newProject(t)
	web := p.log("web")
	web.say("an earlier run\n")
	at := api.LogMark(web.w.Position())
	dir := p.inst.Path(instance.LogsName, "web")
	lines, err := tail(dir, at, nil, 3)
	require.NoError(t, err)
	require.Empty(t, lines)
	web.say("a\nb\n\x1b[31mc")
	lines, err = tail(dir, at, nil, 20)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, lines)
	lines, err = tail(dir, at, nil, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"b", "c"}, lines)
}

func TestDaemonLogShowsItsEnd(t *testing.T) {
	p := newProject(t)
	p.makeDir()
	path := p.inst.Path(instance.DaemonLog)
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(strings.Repeat("y", 99)+"\n", 2000)+"one\n\x1b[2Jtwo\nthree"), 0o600))
	_, stdout, _ := p.hob("daemon", "log", "-n", "3")
	require.Equal(t, "one\ntwo\nthree\n", stdout)
	_, stdout, _ = p.hob("daemon", "log", "-n", "1500")
	require.Equal(t, 1500, strings.Count(stdout, "\n"))
	_, stdout, _ = p.hob("daemon", "log", "-n", "9999")
	require.Equal(t, 2003, strings.Count(stdout, "\n"))
	_, stdout, _ = p.hob("daemon", "log", "-n", "0")
	require.Empty(t, stdout)
}

// TestDaemonLogGoesOnWhereItIsEmptied: "> hobd.log", as people do with a log.
func TestDaemonLogGoesOnWhereItIsEmptied(t *testing.T) {
	p := newProject(t)
	p.makeDir()
	path := p.inst.Path(instance.DaemonLog)
	require.NoError(t, os.WriteFile(path, []byte("one\nhalf a li"), 0o600))
	out := &buffer{}
	a := &app{stdout: out, stderr: out}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.daemonLog(ctx, 10, true) }()
	p.eventually(out, "one\nhalf a li\n")
	require.NoError(t, os.Truncate(path, 0))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("two\n")
	require.NoError(t, err)
	p.eventually(out, "one\nhalf a li\ntwo\n")
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// TestValueOfAFlagIsNoFlag: what looks like --json after -g is what to look for.
func TestValueOfAFlagIsNoFlag(t *testing.T) {
	p := newProject(t)
	p.log("web").say("with --json\nwithout\n")
	_, stdout, _ := p.hob("logs", "-g", "--json", "web")
	require.Equal(t, "with --json\n", stdout)
	code, stdout, _ := p.hob("logs", "--nonsense", "--json")
	require.Equal(t, exitUsage, code)
	require.Contains(t, stdout, `"code":"usage"`)
}
