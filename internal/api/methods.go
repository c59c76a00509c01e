package api

import (
	"time"

	"slices"

	"github.com/hobworks/hob/internal/ipc"
)

// RunParams asks for an ad-hoc service.
type RunParams struct {
	Name    string   `json:"name"`
	Cmd     []string `json:"cmd"`
	Dir     string   `json:"dir"`
	Env     []string `json:"env"`               // the caller's environment, "K=V"
	Replace bool     `json:"replace,omitempty"` // stop what runs under that name first
	Restart string   `json:"restart,omitempty"` // "no", "on-failure" (the default) or "always"
	Color   bool     `json:"color,omitempty"`   // the caller has a terminal with colours
	NoWait  bool     `json:"no_wait,omitempty"` // answer at exec, not after 300 ms of life
	Listen  string   `json:"listen,omitempty"`  // a socket to hold for it: "host:port", "unix:PATH", or "auto" for one of hobd's own
	Proxy   bool     `json:"proxy,omitempty"`   // hobd accepts and forwards: to To, else to a free port that it is given as $PORT
	To      string   `json:"to,omitempty"`      // where it listens by itself
	Find    bool     `json:"find,omitempty"`    // it listens by itself, and is ready when it is found where
	IdleMS  int64    `json:"idle_ms,omitempty"` // stop it after so long without a connection and a lease
	Lazy    bool     `json:"lazy,omitempty"`    // with Listen and IdleMS: the first connection starts it
	TTY     bool     `json:"tty,omitempty"`     // give it a terminal
}

// RunResult tells what run did.
type RunResult struct {
	Service Service `json:"service"`
	Already bool    `json:"already,omitempty"` // the same command ran before: nothing was done
}

// NamesParams names services. None means all to service.list, and is an error to the others.
type NamesParams struct {
	Names []string `json:"names,omitempty"`
	Env   []string `json:"env,omitempty"` // the caller's environment: for restart, and for drift
}

// ServicesResult lists services, by name.
type ServicesResult struct {
	Services []Service `json:"services"`
}

// KillParams is a raw signal: to the leader, or with Group to its process group.
type KillParams struct {
	Name   string `json:"name"`
	Signal string `json:"signal"` // "HUP", "SIGHUP" or "1"
	Group  bool   `json:"group,omitempty"`
}

// AddressParams asks where a service is reached.
type AddressParams struct {
	Name  string   `json:"name"`
	Start bool     `json:"start,omitempty"` // start it also when it is idle, and answer when it is up; the first connection would start it otherwise
	Env   []string `json:"env,omitempty"`   // the caller's environment, for a service of the file that nobody has started yet
	Color bool     `json:"color,omitempty"`
}

// AddressResult is where a service is reached.
type AddressResult struct {
	Network string  `json:"network"` // "tcp" or "unix"
	Address string  `json:"address"` // "host:port", or a path
	Service Service `json:"service"`
}

// HoldParams asks for a lease: services are not stopped for being idle while it lasts.
type HoldParams struct {
	Names []string `json:"names,omitempty"` // none: all, and hobd itself
	Pid   int      `json:"pid,omitempty"`   // it lasts as long as this process, also across daemons; 0: as long as the call
}

// ServiceHeld is the name of the notification that a lease without a pid has begun; it has no parameters.
const ServiceHeld = "service.held"

// AttachParams joins a terminal.
type AttachParams struct {
	Name string `json:"name"`
	Rows int    `json:"rows,omitempty"` // the size of the caller's terminal; 0: it is left as it is
	Cols int    `json:"cols,omitempty"`
}

// ServiceOutput is the name of the notification that carries an Output.
const ServiceOutput = "service.output"

// Output is what a service has written to its terminal.
type Output struct {
	Name string `json:"name"`
	Data []byte `json:"data"` // base64
}

// InputParams is what somebody types.
type InputParams struct {
	Name string `json:"name"`
	Data []byte `json:"data"` // base64; 64 KiB at most
}

// WaitParams waits for one service.
type WaitParams struct {
	Name string `json:"name"`
	For  string `json:"for"` // "ready", "exit" or "log:RE"
}

// UpParams asks for the services of the project's file.
type UpParams struct {
	Names    []string `json:"names,omitempty"` // with what they need; none: all that are not auto = false
	Env      []string `json:"env"`             // the caller's environment, "K=V"
	Color    bool     `json:"color,omitempty"`
	NoWait   bool     `json:"no_wait,omitempty"`  // answer when each is executed or has to wait
	Progress bool     `json:"progress,omitempty"` // send service.event for each change meanwhile
}

// UpResult lists the services that were asked for and what they need, in the order of their start.
type UpResult struct {
	Services []Service `json:"services"`
	Failed   []string  `json:"failed,omitempty"` // names of those that did not come up
	Notes    []string  `json:"notes,omitempty"`  // what the file says and has no effect yet
}

// Event is a change of a service; in the snapshot that every stream opens with, From is empty.
type Event struct {
	V       int       `json:"v"`
	Time    time.Time `json:"time"`
	Type    string    `json:"type"` // "service.snapshot" at the beginning, then "service.state", and "service.removed" with an empty To
	Service string    `json:"service"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Pid     int       `json:"pid"`
	Why     string    `json:"why"`
}

// The types of events.
const (
	TypeState    = "service.state"
	TypeSnapshot = "service.snapshot"
	TypeRemoved  = "service.removed"
	TypeDaemon   = "daemon.state" // of hob events only: To is "ready" or "absent"
)

// ServiceEvent is the name of the notification that carries an Event.
const ServiceEvent = "service.event"

// DownResult tells what down stopped.
type DownResult struct {
	Services []Service `json:"services"`
}

// None is the parameter of methods that take nothing.
type None struct{}

// The methods of hobd. hob.* methods belong to package hob: every daemon answers those.
var (
	ServiceRun = ipc.Method[RunParams, RunResult]{Name: "service.run",
		Doc: "Starts an ad-hoc service and answers once it has lived 300 ms or died; with find, or a proxy to an address of its own, once it can be reached; with lazy, at once."}
	ServiceStart = ipc.Method[NamesParams, ServicesResult]{Name: "service.start",
		Doc: "Starts services that are known and not running, with the environment they had."}
	ServiceStop = ipc.Method[NamesParams, ServicesResult]{Name: "service.stop",
		Doc: "Stops services with their whole trees; answers when nothing of them is left."}
	ServiceRestart = ipc.Method[NamesParams, ServicesResult]{Name: "service.restart",
		Doc: "Stops and starts services, with the caller's environment."}
	ServiceRemove = ipc.Method[NamesParams, ServicesResult]{Name: "service.remove",
		Doc: "Forgets services that do not run, with their logs. One of hob.toml is back with the next project.up."}
	ServiceKill = ipc.Method[KillParams, ServicesResult]{Name: "service.kill",
		Doc: "Sends a signal to a service's first process, or to its group."}
	ServiceList = ipc.Method[NamesParams, ServicesResult]{Name: "service.list",
		Doc: "Lists all services, or those that are named, and these with the drift of their environment, and how their last runs ended."}
	ServiceWait = ipc.Method[WaitParams, ServicesResult]{Name: "service.wait",
		Doc: "Answers when the service is ready, has ended, or has logged a line that matches."}
	ServiceEvents = ipc.Method[None, None]{Name: "service.events",
		Doc: "Sends a service.event notification for each service and then for each change, until the connection ends or the daemon leaves. A client that falls behind by more than a thousand changes gets the services anew."}
	ServiceAddress = ipc.Method[AddressParams, AddressResult]{Name: "service.address",
		Doc: "Says where a service is reached; a service of the project's file that was never started is brought up first."}
	ServiceHold = ipc.Method[HoldParams, None]{Name: "service.hold",
		Doc: "Keeps services from being stopped for being idle. With a pid it answers at once; without, it sends service.held and answers when the daemon leaves: the lease ends with the connection."}
	ServiceAttach = ipc.Method[AttachParams, ServicesResult]{Name: "service.attach",
		Doc: "Sends what the service writes to its terminal as service.output notifications, the last 16 KiB first, and answers when the terminal ends. A client that does not read is cut off."}
	ServiceInput = ipc.Method[InputParams, None]{Name: "service.input",
		Doc: "Types into a service's terminal."}
	ServiceResize = ipc.Method[AttachParams, None]{Name: "service.resize",
		Doc: "Gives a service's terminal another size."}
	ProjectUp = ipc.Method[UpParams, UpResult]{Name: "project.up",
		Doc: "Reads the project's file, applies what is different in it, starts the services with what they need, and answers when each is ready or has failed."}
	ProjectDown = ipc.Method[None, DownResult]{Name: "project.down",
		Doc: "Stops every service in reverse order and forgets the ad-hoc ones; the daemon stays until hob.stop."}
)

// Method describes one method for the documentation.
type Method struct {
	Name, Doc      string
	Params, Result any
}

// Methods lists every method of hobd, by name.
func Methods() []Method {
	all := []Method{
		describe(ServiceRun), describe(ServiceStart), describe(ServiceStop), describe(ServiceRestart),
		describe(ServiceRemove), describe(ServiceKill), describe(ServiceList), describe(ServiceWait),
		describe(ServiceEvents), describe(ServiceAddress), describe(ServiceHold), describe(ServiceAttach),
		describe(ServiceInput), describe(ServiceResize), describe(ProjectUp), describe(ProjectDown),
	}
	slices.SortFunc(all, func(a, b Method) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Notifications lists what hobd tells besides answers; Result is not used.
func Notifications() []Method {
	return []Method{
		{Name: ServiceEvent, Doc: "A service has changed: during service.events, and project.up with progress.", Params: Event{}},
		{Name: ServiceHeld, Doc: "The lease of service.hold has begun.", Params: None{}},
		{Name: ServiceOutput, Doc: "What a service has written to its terminal: during service.attach.", Params: Output{}},
	}
}

func describe[P, R any](m ipc.Method[P, R]) Method {
	return Method{Name: m.Name, Doc: m.Doc, Params: *new(P), Result: *new(R)}
}
