package service

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCheckName(t *testing.T) {
	good := []string{"web", "a", "0", "Web-2", "api.v1", "a_b", "a.", "a-", "web.new-1", strings.Repeat("x", 64)}
	for _, s := range good {
		require.NoError(t, CheckName(s), "%q", s)
	}
	bad := []string{"", ".", "..", "-rf", "_x", ".hidden", "a..b", "../x", "a/b", "a b", "a\nb", "a\x00b", "é", "a\xffb",
		" web", "web ", "a:b", "a*", "~", strings.Repeat("x", 65), strings.Repeat("x", 300)}
	for _, s := range bad {
		require.Error(t, CheckName(s), "%q", s)
	}
}

// TestCheckNameKnowsEveryByte holds the hand-written check against the expression in its error.
func TestCheckNameKnowsEveryByte(t *testing.T) {
	re := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	for c := range 256 {
		for _, s := range []string{string([]byte{byte(c)}), string([]byte{'a', byte(c)}), string([]byte{byte(c), 'a'})} {
			require.Equal(t, re.MatchString(s), CheckName(s) == nil, "%q", s)
		}
	}
}

// TestCheckNameErrorIsShortAndPrintable: a name comes from anybody, its error goes to a terminal.
func TestCheckNameErrorIsShortAndPrintable(t *testing.T) {
	err := CheckName(strings.Repeat("\x1b]0;x\a\n", 1000))
	require.Error(t, err)
	require.Less(t, len(err.Error()), 600)
	require.NotContains(t, err.Error(), "\x1b")
	require.NotContains(t, err.Error(), "\n")
}

func TestCheckArgs(t *testing.T) {
	good := Spec{Name: "web", Cmd: []string{"sh", "-c", "", "a b\nc"}, Dir: "/", Env: []string{"A=b\nC=d", "E="}}
	require.NoError(t, good.CheckArgs())
	for what, s := range map[string]Spec{
		"no command":        {Dir: "/"},
		"empty command":     {Cmd: []string{""}, Dir: "/"},
		"NUL in argv":       {Cmd: []string{"sh", "a\x00b"}, Dir: "/"},
		"NUL in executable": {Cmd: []string{"s\x00h"}, Dir: "/"},
		"NUL in directory":  {Cmd: []string{"sh"}, Dir: "/a\x00b"},
		"NUL in env":        {Cmd: []string{"sh"}, Dir: "/", Env: []string{"A=\x00"}},
		"relative":          {Cmd: []string{"sh"}, Dir: "a/b"},
		"no directory":      {Cmd: []string{"sh"}},
	} {
		s.Name = "web"
		require.ErrorContains(t, s.CheckArgs(), `service "web": `, what)
	}
}

func TestAddressLeadsTo(t *testing.T) {
	tcp := func(addr string) Address { return Address{Network: "tcp", Addr: addr} }
	for _, c := range []struct {
		to, at string
		want   bool
	}{
		{"h:1", "h:1", true}, {"h:1", "H:1", true}, {"h:1", "h:2", false}, {"h:1", "other:1", false},
		{"127.0.0.1:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.2:1", false}, {"127.0.0.2:1", "0.0.0.0:1", true},
		{"localhost:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "localhost:1", true}, {"localhost:1", "[::1]:1", true},
		{"localhost:1", "0.0.0.0:1", true}, {"localhost:1", "[::]:1", true}, {"0.0.0.0:1", "127.0.0.1:1", true}, {"0.0.0.0:1", "127.0.0.2:1", false},
		{"10.1.2.3:1", "127.0.0.1:1", false}, {"10.1.2.3:1", "10.1.2.3:1", true}, {"127.0.0.1:1", "10.1.2.3:1", false},
		{"[::1]:1", "0.0.0.0:1", false}, {"[::1]:1", "[::]:1", true}, {"127.0.0.1:1", "[::]:1", true}, {"[::]:1", "0.0.0.0:1", false},
		{"nonsense", "127.0.0.1:1", false},
	} {
		require.Equal(t, c.want, tcp(c.to).LeadsTo(tcp(c.at)), "%+v", c)
	}
	unix := Address{Network: "unix", Addr: "/a"}
	require.True(t, unix.LeadsTo(unix))
	require.False(t, unix.LeadsTo(Address{Network: "unix", Addr: "/b"}))
	require.False(t, unix.LeadsTo(tcp("h:1")))
}

func TestSameIsArgvAndDirectory(t *testing.T) {
	s := Spec{Name: "web", Cmd: []string{"a", "b"}, Dir: "/d", Env: []string{"A=1"}}
	require.True(t, s.Same(Spec{Name: "other", Cmd: []string{"a", "b"}, Dir: "/d", Env: []string{"A=2"}}))
	require.False(t, s.Same(Spec{Cmd: []string{"a", "b"}, Dir: "/e"}))
	require.False(t, s.Same(Spec{Cmd: []string{"a"}, Dir: "/d"}))
	require.False(t, s.Same(Spec{Cmd: []string{"a b"}, Dir: "/d"}))
	require.False(t, s.Same(Spec{Cmd: []string{"a", "b", ""}, Dir: "/d"}))
	require.False(t, s.Same(Spec{Cmd: []string{"a", "c"}, Dir: "/d"}))
}

func TestExitInWords(t *testing.T) {
	for want, e := range map[string]Exit{
		"exit 0":            {},
		"exit 3":            {Code: 3},
		"exit unknown":      {Code: -1},
		"killed by SIGKILL": {Code: 137, Signal: "SIGKILL"},
	} {
		require.Equal(t, want, e.String())
	}
}

func TestAliveStates(t *testing.T) {
	alive := map[State]bool{Starting: true, Ready: true, Running: true, Stopping: true, Waiting: false, Backoff: false, Stopped: false, Done: false, Failed: false}
	for s, want := range alive {
		require.Equal(t, want, s.Alive(), s)
	}
}

// TestStatusOnDisk freezes the keys that a later hobd reads after this one was killed. The
// environment is never among them.
func TestStatusOnDisk(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	st := Status{Spec: Spec{Name: "web", Cmd: []string{"npm", "run"}, Dir: "/p", Env: []string{"SECRET=x"}, Source: SourceRun, Stop: DefaultStop},
		State: Running, Want: Up, Pid: 7, Start: 8, Boot: "b", StartedAt: at, ReadyAt: at, StoppedAt: at, Restarts: 1, Adopted: 2,
		Generation: 3, Exit: &Exit{Code: 143, Signal: "SIGTERM", At: at}, Why: "w", LogStart: LogMark{4, 5}, EnvHash: "h"}
	data, err := json.Marshal(st)
	require.NoError(t, err)
	const when = `"2026-01-02T03:04:05Z"`
	require.JSONEq(t, fmt.Sprintf(`{"name":"web","cmd":["npm","run"],"dir":"/p","source":"run","stop":{"signal":%d,"timeout":5000000000},
		"state":"running","want":"up","pid":7,"start":8,"boot_id":"b","started_at":%s,"ready_at":%s,"stopped_at":%s,"restarts":1,
		"adopted":2,"generation":3,"exit":{"code":143,"signal":"SIGTERM","at":%s},"why":"w","log_start":{"segment":4,"offset":5},
		"env":"h"}`, int(syscall.SIGTERM), when, when, when, when), string(data))
	require.NotContains(t, string(data), "SECRET")
}
