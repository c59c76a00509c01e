package probe

import (
	"time"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
)

// The protocol range that this build speaks. 2 has hob.upgrade, and streams: see Hello.
const (
	MinProtocol = 1
	MaxProtocol = 2
)

// The messages below are frozen for ever: golden bytes in the tests hold them. Fields may be
// added; unknown ones are ignored.

// Hello opens a connection: who asks, for which project, in which protocols.
type Hello struct {
	Protocol [2]int        `json:"protocol"` // min, max
	Build    string        `json:"build"`
	Root     instance.Root `json:"root"`
	Pid      int           `json:"pid"`
	Client   string        `json:"client"`           // name of the program, for people
	Lease    bool          `json:"lease"`            // the daemon must not leave by itself while this connection lives
	Stream   bool          `json:"stream,omitempty"` // after the answer the connection is the program's own protocol
}

// HelloReply holds exactly one answer.
type HelloReply struct {
	Welcome      *Welcome      `json:"welcome,omitempty"`
	Draining     *Leaving      `json:"draining,omitempty"`
	Incompatible *Incompatible `json:"incompatible,omitempty"`
	RootMismatch *RootMismatch `json:"root_mismatch,omitempty"`
}

// Welcome says that this daemon serves the project.
type Welcome struct {
	Protocol  int           `json:"protocol"` // the one to speak on this connection
	Build     string        `json:"build"`
	Pid       int           `json:"pid"`
	ID        string        `json:"id"`
	Root      instance.Root `json:"root"`
	StartedAt time.Time     `json:"started_at"`
	Stream    bool          `json:"stream,omitempty"` // what follows is the program's own protocol

	Foreground bool `json:"foreground,omitempty"` // a person or a service manager started it, not a client
}

// Leaving says that this daemon is leaving; with Retry another may be started in a moment.
type Leaving struct {
	Retry  bool   `json:"retry"`
	Reason string `json:"reason"`
}

// Incompatible says which protocols this daemon speaks instead.
type Incompatible struct {
	Protocol [2]int `json:"protocol"`
	Build    string `json:"build"`
}

// RootMismatch says that this daemon serves another directory.
type RootMismatch struct {
	Root instance.Root `json:"root"`
}

// Retire asks a daemon to leave and to keep what it runs for the next one.
type Retire struct {
	Reason string `json:"reason"`
	Client string `json:"client"`
}

// RetireReply is the promise to leave.
type RetireReply struct {
	Retiring struct{} `json:"retiring"`
}

// The frozen methods.
var (
	HelloMethod = ipc.Method[Hello, HelloReply]{Name: "hob.hello",
		Doc: "Says who asks, for which project and in which protocols. Frozen."}
	RetireMethod = ipc.Method[Retire, RetireReply]{Name: "hob.retire",
		Doc: "Asks the daemon to leave and to keep what it runs for the next one. Frozen."}
)
