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
}

// RunResult tells what run did.
type RunResult struct {
	Service Service `json:"service"`
	Already bool    `json:"already,omitempty"` // the same command ran before: nothing was done
}

// NamesParams names services; none means all.
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
	Type    string    `json:"type"` // "service.state"; "service.snapshot" at the beginning
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
		Doc: "Starts an ad-hoc service and answers once it has lived 300 ms or died."}
	ServiceStart = ipc.Method[NamesParams, ServicesResult]{Name: "service.start",
		Doc: "Starts services that are known and not running, with the environment they had."}
	ServiceStop = ipc.Method[NamesParams, ServicesResult]{Name: "service.stop",
		Doc: "Stops services with their whole trees; answers when nothing of them is left."}
	ServiceRestart = ipc.Method[NamesParams, ServicesResult]{Name: "service.restart",
		Doc: "Stops and starts services, with the caller's environment."}
	ServiceRemove = ipc.Method[NamesParams, ServicesResult]{Name: "service.remove",
		Doc: "Forgets ad-hoc services that do not run, with their logs."}
	ServiceKill = ipc.Method[KillParams, ServicesResult]{Name: "service.kill",
		Doc: "Sends a signal to a service's first process, or to its group."}
	ServiceList = ipc.Method[NamesParams, ServicesResult]{Name: "service.list",
		Doc: "Lists services; with exactly one name also its tree and the drift of its environment."}
	ServiceWait = ipc.Method[WaitParams, ServicesResult]{Name: "service.wait",
		Doc: "Answers when the service is ready, has ended, or has logged a line that matches."}
	ServiceEvents = ipc.Method[None, None]{Name: "service.events",
		Doc: "Sends a service.event notification for each service and then for each change, until the connection ends or the daemon leaves. A client that falls behind by more than a thousand changes gets the services anew."}
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
		describe(ServiceEvents), describe(ProjectUp), describe(ProjectDown),
	}
	slices.SortFunc(all, func(a, b Method) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

func describe[P, R any](m ipc.Method[P, R]) Method {
	return Method{Name: m.Name, Doc: m.Doc, Params: *new(P), Result: *new(R)}
}
