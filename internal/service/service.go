// Package service holds the plain nouns of a supervised service: what was asked (Spec, Want)
// and what is so (State, Exit, Status). They are values that every room may pass on. It never
// does anything and imports nothing of ours.
package service

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Spec says what to run and how to look after it. It is immutable once it was handed over.
type Spec struct {
	Name    string    `json:"name"`
	Cmd     []string  `json:"cmd"` // argv; the executable is found with PATH of the environment and Dir
	Dir     string    `json:"dir"` // absolute
	Env     []string  `json:"-"`   // "K=V", of the client that asked; stored apart, 0600, never printed
	Set     []string  `json:"-"`   // "K=V", laid over Env: from env_file and env; stored as Env is
	Source  Source    `json:"source"`
	Stop    Stop      `json:"stop"`
	Needs   []Need    `json:"needs,omitempty"`
	Ready   Readiness `json:"ready,omitzero"`
	Restart Restart   `json:"restart,omitempty"`
	Log     Log       `json:"log,omitzero"`
	Color   bool      `json:"color,omitempty"` // the client that asked has a terminal with colours

	Listen Listen        `json:"listen,omitzero"` // a socket that is held for it
	Idle   time.Duration `json:"idle,omitempty"`  // it is stopped after so long without a connection and a lease; 0: never
	Alive  Alive         `json:"alive,omitzero"`
	TTY    bool          `json:"tty,omitempty"` // it has a terminal
}

// OnDemand reports whether the service is started by the first connection and stopped when it is idle.
func (s Spec) OnDemand() bool { return s.Listen.Held() && s.Idle > 0 }

// Need is another service that has to be there first.
type Need struct {
	Name string    `json:"name"`
	For  Condition `json:"for"`
}

// Condition is what is needed of another service.
type Condition string

// The conditions.
const (
	NeedReady Condition = "ready" // it is ready; running, where it declares no readiness
	NeedDone  Condition = "done"  // it has ended with exit 0
)

// Readiness says how a service tells that it is ready. At most one field besides Timeout is set; none:
// no readiness is declared, and living for a while has to do.
type Readiness struct {
	Log     string        `json:"log,omitempty"`    // a regular expression that a line of this run's log matches
	TCP     string        `json:"tcp,omitempty"`    // host:port that accepts
	HTTP    string        `json:"http,omitempty"`   // http:// URL that answers a GET with 200–399
	Exec    []string      `json:"exec,omitempty"`   // argv that exits with 0
	Notify  bool          `json:"notify,omitempty"` // READY=1, sd_notify(3)
	FD      int           `json:"fd,omitempty"`     // a newline written to this descriptor, as s6 has it
	Own     bool          `json:"own,omitempty"`    // it listens somewhere by itself; where, is found
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Declared reports whether any readiness is.
func (r Readiness) Declared() bool {
	return r.Log != "" || r.TCP != "" || r.HTTP != "" || len(r.Exec) > 0 || r.Notify || r.FD != 0 || r.Own
}

// Alive says how to see that a service that was ready still works. At most one of HTTP, TCP and Exec is set;
// none: nothing is checked.
type Alive struct {
	HTTP  string        `json:"http,omitempty"`
	TCP   string        `json:"tcp,omitempty"`
	Exec  []string      `json:"exec,omitempty"`
	Every time.Duration `json:"every"`
	Fails int           `json:"fails"` // so many in a row
}

// Declared reports whether there is anything to check.
func (a Alive) Declared() bool { return a.HTTP != "" || a.TCP != "" || len(a.Exec) > 0 }

// DefaultReadyTimeout is how long a service may take to be ready.
const DefaultReadyTimeout = 60 * time.Second

// Restart says which ends of a run are followed by another one.
type Restart string

// The policies. The empty one is RestartOnFailure.
const (
	RestartNo        Restart = "no"
	RestartOnFailure Restart = "on-failure"
	RestartAlways    Restart = "always"
)

// CheckRestart says why s can't be a policy, or nil.
func CheckRestart(s string) error {
	switch Restart(s) {
	case "", RestartNo, RestartOnFailure, RestartAlways:
		return nil
	}
	return fmt.Errorf("restart %q: not no, on-failure or always", s)
}

// Log bounds what is kept of a service's output.
type Log struct {
	Max  int64 `json:"max"`  // bytes of a segment before the next one begins
	Keep int   `json:"keep"` // full segments kept beside the one that is written
}

// DefaultLog is 10 MB and 3.
var DefaultLog = Log{Max: 10_000_000, Keep: 3}

// Stop says how a service is asked to leave: Signal, then after Timeout SIGKILL of the tree.
type Stop struct {
	Signal  syscall.Signal `json:"signal"`
	Timeout time.Duration  `json:"timeout"` // nanoseconds on disk
}

// DefaultStop is SIGTERM and 5 s.
var DefaultStop = Stop{Signal: syscall.SIGTERM, Timeout: 5 * time.Second}

// Same reports whether two specs mean the same command: argv and directory. A different
// environment alone is drift, not another command.
func (s Spec) Same(t Spec) bool {
	if s.Dir != t.Dir || len(s.Cmd) != len(t.Cmd) {
		return false
	}
	for i := range s.Cmd {
		if s.Cmd[i] != t.Cmd[i] {
			return false
		}
	}
	return true
}

// Source is where a spec came from.
type Source string

// The sources.
const (
	SourceRun      Source = "run"      // ad hoc, by hob run
	SourceFile     Source = "hob.toml" // with hob.local.toml over it
	SourceProcfile Source = "Procfile"
)

// State is what is so, one word and one meaning each.
type State string

// The states of a service.
const (
	Idle     State = "idle"     // its socket is held, it is not running: the next connection starts it
	Waiting  State = "waiting"  // for what it needs
	Starting State = "starting" // its process is there, it did not yet live long enough or is not ready
	Ready    State = "ready"    // it said so
	Running  State = "running"  // lives; no readiness declared
	Unready  State = "unready"  // lives, was ready, and its alive check fails
	Backoff  State = "backoff"  // ended, and is started again in a moment
	Stopping State = "stopping" // its tree was asked to leave
	Stopped  State = "stopped"  // not running because that was asked
	Done     State = "done"     // ended by itself with exit 0
	Failed   State = "failed"   // ended by itself otherwise, or could not be started
)

// States lists them all, in the order in which a service goes through them.
var States = []State{Stopped, Idle, Waiting, Starting, Ready, Running, Unready, Stopping, Backoff, Done, Failed}

// Alive reports whether a process of the service may exist in state s.
func (s State) Alive() bool {
	return s == Starting || s.Serving() || s == Stopping
}

// Serving reports whether a process of the service is past its start and not asked to leave in state s.
func (s State) Serving() bool { return s == Ready || s == Running || s == Unready }

// Pending reports whether a process will be started in state s, without anybody asking again.
func (s State) Pending() bool { return s == Waiting || s == Backoff }

// Active reports whether a service in state s is not down: something of it runs, will be started, or is held.
func (s State) Active() bool { return s.Alive() || s.Pending() || s == Idle }

// Up reports whether the service is as ready as it can be. An idle one is: whoever connects is served.
func (s State) Up() bool { return s == Ready || s == Running || s == Idle }

// Want is what was asked for.
type Want string

// The wants.
const (
	Up   Want = "up"
	Down Want = "down"
)

// Exit is how a run ended.
type Exit struct {
	Code       int       `json:"code"`             // exit status; 128+n for a signal; -1 when not known
	Signal     string    `json:"signal,omitempty"` // "SIGKILL", or empty
	At         time.Time `json:"at"`
	Generation int       `json:"generation,omitempty"` // of the run that ended
	StartedAt  time.Time `json:"started_at,omitzero"`  // of that run
	LogEnd     LogMark   `json:"log_end,omitzero"`     // where its log ends
}

// String says it in words: "exit 1", "killed by SIGKILL", "exit unknown".
func (e Exit) String() string {
	switch {
	case e.Signal != "":
		return "killed by " + e.Signal
	case e.Code < 0:
		return "exit unknown"
	}
	return fmt.Sprintf("exit %d", e.Code)
}

// Status is one service as it is now.
type Status struct {
	Spec
	State      State       `json:"state"`
	Want       Want        `json:"want"`
	Pid        int         `json:"pid,omitempty"`
	Start      uint64      `json:"start,omitempty"`   // start time of Pid, clock ticks since boot
	Boot       string      `json:"boot_id,omitempty"` // boot in which Pid lived
	StartedAt  time.Time   `json:"started_at,omitzero"`
	ReadyAt    time.Time   `json:"ready_at,omitzero"`
	StoppedAt  time.Time   `json:"stopped_at,omitzero"`
	Restarts   int         `json:"restarts"`
	Adopted    int         `json:"adopted"`    // how often a new hobd took the running process over
	Generation int         `json:"generation"` // one more with every start
	Exit       *Exit       `json:"exit,omitempty"`
	Exits      []Exit      `json:"exits,omitempty"`    // the last ends of runs, the newest last; at most MaxExits
	Failures   []time.Time `json:"failures,omitempty"` // ends of unproductive runs that the start limit counts
	Tries      int         `json:"tries,omitempty"`    // unproductive runs in a row: the step of the back-off
	NextTry    time.Time   `json:"next_try,omitzero"`  // in backoff: when the next run begins
	Why        string      `json:"why,omitempty"`
	LogStart   LogMark     `json:"log_start"`       // where the log of this generation begins
	EnvAt      time.Time   `json:"env_at,omitzero"` // when Env was taken from a client
	EnvHash    string      `json:"env,omitempty"`
	SetHash    string      `json:"set,omitempty"`

	Held    bool    `json:"held,omitempty"`    // the socket of Listen is there
	Parking bool    `json:"parking,omitempty"` // stopping because nobody needs it: idle comes next
	Lazy    bool    `json:"lazy,omitempty"`    // with a start that is to come: if the service is on demand, its socket is enough
	Backend Address `json:"backend,omitzero"`  // where this run listens by itself: that of a proxied service, and one that was found
	Leases  []Lease `json:"leases,omitempty"`  // that last as long as a process
}

// Lease keeps a service from being stopped for being idle while the process lives.
type Lease struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
	Boot  string `json:"boot_id"`
}

// LogEndOf is where the log of an earlier run ends; where that is forgotten, where that of this one begins.
func (s Status) LogEndOf(generation int) LogMark {
	for _, x := range s.Exits {
		if x.Generation == generation && x.LogEnd != (LogMark{}) {
			return x.LogEnd
		}
	}
	return s.LogStart
}

// MaxExits is how many ends of runs are remembered.
const MaxExits = 5

// LogMark is a place in a service's log.
type LogMark struct {
	Segment int   `json:"segment"`
	Offset  int64 `json:"offset"`
}

// CheckName says why s can't be the name of a service, or nil.
func CheckName(s string) error {
	if nameOK(s) {
		return nil
	}
	return fmt.Errorf("service name %q: not [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without \"..\"", short(s))
}

func nameOK(s string) bool {
	if s == "" || len(s) > 64 || strings.Contains(s, "..") || strings.IndexByte("_.-", s[0]) >= 0 {
		return false
	}
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("_.-", c) < 0 {
			return false
		}
	}
	return true
}

// CheckArgs says why argv, dir or env can't be given to a process, or nil.
func (s Spec) CheckArgs() error {
	if len(s.Cmd) == 0 || s.Cmd[0] == "" {
		return fmt.Errorf("service %q: no command", s.Name)
	}
	for _, list := range [][]string{s.Cmd, s.Env, s.Set, {s.Dir}} {
		for _, v := range list {
			if strings.IndexByte(v, 0) >= 0 {
				return fmt.Errorf("service %q: a NUL byte in its command, directory or environment", s.Name)
			}
		}
	}
	for _, list := range [][]string{s.Env, s.Set} {
		for _, kv := range list {
			if err := checkVariable(kv); err != nil {
				return fmt.Errorf("service %q: %w", s.Name, err)
			}
		}
	}
	if !strings.HasPrefix(s.Dir, "/") {
		return fmt.Errorf("service %q: directory %q is not absolute", s.Name, s.Dir)
	}
	return nil
}

// maxVariable is MAX_ARG_STRLEN of execve(2), less the NUL at the end.
const maxVariable = 128<<10 - 1

// checkVariable says why "K=V" can't be given to a process, or nil. The value is nobody's business, and may be any text.
func checkVariable(kv string) error {
	name, _, _ := strings.Cut(kv, "=")
	switch {
	case strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
		return fmt.Errorf("environment variable %q: a control character in its name", short(name))
	case len(kv) > maxVariable:
		return fmt.Errorf("environment variable %s has %d bytes, and a program can be given %d", short(name), len(kv), maxVariable)
	}
	return nil
}
