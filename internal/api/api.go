// Package api is hobd's vocabulary: every method as one typed value, declared once and used by
// the client, by the daemon and by the generator of docs/protocol.md; and the documents that
// --json prints. A key, once shipped, keeps its name and its meaning. It never does anything.
package api

import (
	"time"

	"github.com/hobworks/hob/internal/service"
)

// V is the version of every document.
const V = 1

// Service is one service as documents show it. Times are RFC 3339 in UTC, durations
// milliseconds, sizes bytes.
type Service struct {
	Name       string     `json:"name"`
	State      string     `json:"state"`
	Want       string     `json:"want"`
	Pid        int        `json:"pid"` // 0 when no process runs
	StartedAt  *time.Time `json:"started_at"`
	ReadyAt    *time.Time `json:"ready_at"`
	UptimeMS   int64      `json:"uptime_ms"`
	Restarts   int        `json:"restarts"`
	Adopted    int        `json:"adopted"`
	Generation int        `json:"generation"`
	Exit       *Exit      `json:"exit"`
	CPUPercent float64    `json:"cpu_percent"`
	RSSBytes   int64      `json:"rss_bytes"`
	Addr       string     `json:"addr"`
	Why        string     `json:"why"`
	Cmd        []string   `json:"cmd"`
	Dir        string     `json:"dir"`
	Source     string     `json:"source"`
	Pids       []int      `json:"pids,omitempty"`      // the whole tree
	EnvDrift   []string   `json:"env_drift,omitempty"` // names of variables that differ from the caller's
	Killed     []int      `json:"killed,omitempty"`    // what had to be killed by the last stop
	LogLost    int64      `json:"log_lost_bytes,omitempty"`
	Unsaved    string     `json:"unsaved,omitempty"`   // why the state can't be written to disk yet: a next hobd would go by an older one
	LogStart   *LogMark   `json:"log_start,omitempty"` // where the log of this generation begins
	LogEnd     *LogMark   `json:"log_end,omitempty"`   // where it ends, once the run has ended
	Needs      []string   `json:"needs,omitempty"`
	Restart    string     `json:"restart,omitempty"`  // "no", "on-failure" or "always"
	NextTry    *time.Time `json:"next_try,omitempty"` // in backoff
	EnvAt      *time.Time `json:"env_at,omitempty"`   // when the environment was taken from a client
	EnvSet     []string   `json:"env_set,omitempty"`  // names of the variables that the file sets, in the detail of one service
	IdleMS     int64      `json:"idle_ms,omitempty"`  // it is stopped after so long without a connection and a lease
	TTY        bool       `json:"tty,omitempty"`      // it has a terminal
	Leases     []int      `json:"leases,omitempty"`   // pids of processes that keep it from being stopped for being idle, in the detail of one service
	Exits      []Exit     `json:"exits,omitempty"`    // how the last runs ended, the newest last, in the detail of one service
}

// LogMark is a place in a service's log: a segment's number and a byte in it.
type LogMark struct {
	Segment int   `json:"segment"`
	Offset  int64 `json:"offset"`
}

// Exit is how the last run of a service ended.
type Exit struct {
	Code   int       `json:"code"`   // exit status; 128+n for a signal; -1 when not known
	Signal string    `json:"signal"` // "SIGTERM", or ""
	At     time.Time `json:"at"`
}

// String says it in words: "exit 1", "killed by SIGKILL", "exit unknown".
func (e Exit) String() string { return service.Exit{Code: e.Code, Signal: e.Signal}.String() }

// Daemon is an instance's daemon as documents show it. State is the verdict of the probe.
type Daemon struct {
	State       string     `json:"state"`
	Pid         int        `json:"pid"`
	ID          string     `json:"id"`
	Project     string     `json:"project"`
	Socket      string     `json:"socket"`
	Lock        string     `json:"lock"`
	Log         string     `json:"log"`
	Version     string     `json:"version"`
	Protocol    int        `json:"protocol"`
	StartedAt   *time.Time `json:"started_at"`
	Connections int        `json:"connections"`
}

// Document answers ps, run, start, stop, restart, wait, down and daemon.
type Document struct {
	V        int       `json:"v"`
	Daemon   *Daemon   `json:"daemon,omitempty"`
	Services []Service `json:"services,omitempty"`
	Service  *Service  `json:"service,omitempty"`
}

// ErrorDocument is printed on stdout when a command with --json fails.
type ErrorDocument struct {
	V     int   `json:"v"`
	Error Error `json:"error"`
}

// SockDocument answers sock.
type SockDocument struct {
	V       int    `json:"v"`
	Service string `json:"service"`
	Network string `json:"network"` // "tcp" or "unix"
	Address string `json:"address"` // "host:port", or a path
}

// Error is why, for programs (Code) and people (Message, Hint).
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// The codes of errors that hobd's methods answer. The verdicts of the probe are codes too.
const (
	CodeNotRunning    = "not_running"     // exit status 3
	CodeNoSuchService = "no_such_service" // exit status 4
	CodeUsage         = "usage"           // exit status 2
	CodeBadConfig     = "bad_config"      // hob.toml or Procfile can't be used; exit status 2
	CodeTimeout       = "timeout"         // exit status 124
	CodeNameTaken     = "name_taken"      // another command runs under that name
	CodeStartFailed   = "start_failed"    // it died at once, or could not be executed
	CodeNoAddress     = "no_address"      // the service has no socket, and does not say where it listens
	CodeNoTerminal    = "no_terminal"     // the service has none to attach to
	CodeBusy          = "busy"            // the state of the service does not allow it
	CodeDraining      = "draining"        // the daemon is leaving
	CodeAgain         = "again"           // never seen by clients: hob.Request.Handover
	CodeFailed        = "failed"          // everything else; exit status 1
)

// Plan answers check: what the project's file says, in the order in which it is started.
type Plan struct {
	V        int              `json:"v"`
	File     string           `json:"file"`
	Services []PlannedService `json:"services"`
	Notes    []string         `json:"notes,omitempty"` // what it says and has no effect yet
}

// FirstFile answers init.
type FirstFile struct {
	V    int    `json:"v"`
	File string `json:"file"`
	From string `json:"from"` // the file that it was made from, or ""
	Text string `json:"text"`
}

// Environ is the environment of a service, for exec.
type Environ struct {
	V    int      `json:"v"`
	Dir  string   `json:"dir"`
	Base bool     `json:"base"` // Env has that of the client which started it; else only what the file sets
	Env  []string `json:"env"`
}

// LogLine is a line of `logs --json`.
type LogLine struct {
	V       int       `json:"v"`
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Line    string    `json:"line"`
	Partial bool      `json:"partial,omitempty"` // the next one of this service continues it: it is long, or has no end yet
}

// Instance is one entry of `list`.
type Instance struct {
	Daemon
	Name     string `json:"name,omitempty"` // of an instance that is not hob's own
	Services int    `json:"services"`
}

// ListDocument answers list and prune.
type ListDocument struct {
	V         int        `json:"v"`
	Instances []Instance `json:"instances"`
}

// Fact is one line of doctor.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	OK    bool   `json:"ok"`
	Hint  string `json:"hint,omitempty"`
}

// DoctorDocument answers doctor.
type DoctorDocument struct {
	V     int    `json:"v"`
	OK    bool   `json:"ok"`
	Facts []Fact `json:"facts"`
}
