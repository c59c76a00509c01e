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

// Spec says what to run. It is immutable once it was handed over.
type Spec struct {
	Name   string   `json:"name"`
	Cmd    []string `json:"cmd"` // argv; the executable is found with PATH of Env and Dir
	Dir    string   `json:"dir"` // absolute
	Env    []string `json:"-"`   // "K=V"; stored apart, 0600, never printed
	Source Source   `json:"source"`
	Stop   Stop     `json:"stop"`
}

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
	SourceRun Source = "run" // ad hoc, by hob run
)

// State is what is so, one word and one meaning each.
type State string

// The states of a service.
const (
	Starting State = "starting" // its process is there, it did not yet live long enough or is not ready
	Running  State = "running"  // lives; no readiness declared
	Stopping State = "stopping" // its tree was asked to leave
	Stopped  State = "stopped"  // not running because that was asked
	Done     State = "done"     // ended by itself with exit 0
	Failed   State = "failed"   // ended by itself otherwise, or could not be started
)

// Alive reports whether a process of the service may exist in state s.
func (s State) Alive() bool { return s == Starting || s == Running || s == Stopping }

// Want is what was asked for.
type Want string

// The wants.
const (
	Up   Want = "up"
	Down Want = "down"
)

// Exit is how a run ended.
type Exit struct {
	Code   int       `json:"code"`             // exit status; 128+n for a signal; -1 when not known
	Signal string    `json:"signal,omitempty"` // "SIGKILL", or empty
	At     time.Time `json:"at"`
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
	State      State     `json:"state"`
	Want       Want      `json:"want"`
	Pid        int       `json:"pid,omitempty"`
	Start      uint64    `json:"start,omitempty"`   // start time of Pid, clock ticks since boot
	Boot       string    `json:"boot_id,omitempty"` // boot in which Pid lived
	StartedAt  time.Time `json:"started_at,omitzero"`
	ReadyAt    time.Time `json:"ready_at,omitzero"`
	StoppedAt  time.Time `json:"stopped_at,omitzero"`
	Restarts   int       `json:"restarts"`
	Adopted    int       `json:"adopted"`    // how often a new hobd took the running process over
	Generation int       `json:"generation"` // one more with every start
	Exit       *Exit     `json:"exit,omitempty"`
	Why        string    `json:"why,omitempty"`
	LogStart   LogMark   `json:"log_start"` // where the log of this generation begins
	EnvHash    string    `json:"env,omitempty"`
}

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
	shown := s
	if len(shown) > 80 {
		shown = shown[:80] + "…"
	}
	return fmt.Errorf("service name %q: not [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without \"..\"", shown)
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
	for _, list := range [][]string{s.Cmd, s.Env, {s.Dir}} {
		for _, v := range list {
			if strings.IndexByte(v, 0) >= 0 {
				return fmt.Errorf("service %q: a NUL byte in its command, directory or environment", s.Name)
			}
		}
	}
	if !strings.HasPrefix(s.Dir, "/") {
		return fmt.Errorf("service %q: directory %q is not absolute", s.Name, s.Dir)
	}
	return nil
}
