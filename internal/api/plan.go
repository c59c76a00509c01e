package api

// PlannedService is a service as the project's file has it: what will be executed, and how it is looked after.
type PlannedService struct {
	Name    string         `json:"name"`
	Cmd     []string       `json:"cmd"`
	Dir     string         `json:"dir"`
	Auto    bool           `json:"auto"` // part of a bare up
	Needs   []PlannedNeed  `json:"needs,omitempty"`
	Env     []string       `json:"env,omitempty"`   // names of the variables that env_file and env set
	Port    bool           `json:"port,omitempty"`  // it is given a free PORT
	Ready   *PlannedReady  `json:"ready,omitempty"` // null: it has to live for 300 ms
	Restart string         `json:"restart"`
	Stop    PlannedStop    `json:"stop"`
	Log     PlannedLog     `json:"log"`
	Listen  *PlannedListen `json:"listen,omitempty"`
	IdleMS  int64          `json:"idle_ms,omitempty"`
	Alive   *PlannedAlive  `json:"alive,omitempty"`
	Watch   []string       `json:"watch,omitempty"`
	TTY     bool           `json:"tty,omitempty"`
}

// PlannedNeed is what a service needs of another one.
type PlannedNeed struct {
	Name string `json:"name"`
	For  string `json:"for"` // "ready" or "done"
}

// PlannedReady is how a service tells that it is ready.
type PlannedReady struct {
	Log       string   `json:"log,omitempty"`
	TCP       string   `json:"tcp,omitempty"`
	HTTP      string   `json:"http,omitempty"`
	Exec      []string `json:"exec,omitempty"`
	Notify    bool     `json:"notify,omitempty"`
	FD        int      `json:"fd,omitempty"`
	TimeoutMS int64    `json:"timeout_ms"`
}

// PlannedStop is how a service is asked to leave, and after what time it is killed.
type PlannedStop struct {
	Signal    string `json:"signal"` // "SIGTERM"
	TimeoutMS int64  `json:"timeout_ms"`
}

// PlannedLog is what is kept of a service's output.
type PlannedLog struct {
	MaxBytes int64 `json:"max_bytes"`
	Keep     int   `json:"keep"`
}

// PlannedListen is the socket that is held for a service.
type PlannedListen struct {
	Addr  string `json:"addr"`
	Proxy bool   `json:"proxy,omitempty"`
	To    string `json:"to,omitempty"`
}

// PlannedAlive is how to see that a service still works.
type PlannedAlive struct {
	HTTP    string   `json:"http,omitempty"`
	TCP     string   `json:"tcp,omitempty"`
	Exec    []string `json:"exec,omitempty"`
	EveryMS int64    `json:"every_ms"`
	Fails   int      `json:"fails"`
}
