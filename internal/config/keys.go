package config

// What hob.toml knows: the parser, docs/hob.schema.json and docs/config.md are all made of these types. A tag
// "toml" is the key, "default" what holds without it, "later" that it does not act yet; the comment is its text in the docs.

// document is a whole hob.toml.
type document struct {
	// The services, each a table [services.NAME]. A NAME is up to 64 letters, digits, `_`, `.` and `-`,
	// begins with a letter or digit and has no `..` in it.
	Services services `toml:"services"`
	// About hobd itself.
	Daemon daemonTable `toml:"daemon"`
}

// serviceTable is a table [services.NAME].
type serviceTable struct {
	set
	name string

	// What to run. A string is given to `sh -c`, with `exec ` in front when it is one simple command (words and
	// quotes, no operators); an array is executed as it is, without a shell.
	Run command `toml:"run" default:"required"`
	// Its working directory, relative to the project's root.
	Dir directory `toml:"dir" default:"the root"`
	// Services that must be there first: ready, for those in an array; a table may say `"done"` of one that
	// has to end with exit 0.
	Needs needs `toml:"needs"`
	// Variables laid over the environment of the client that starts the service. A number or a boolean stands for its text.
	Env variables `toml:"env"`
	// Files with variables, relative to the project's root: one, or an array of which the later win. `env` wins over all of them.
	EnvFile paths `toml:"env_file"`
	// How to see that it is ready. Without it, living for 300 ms is enough.
	Ready readyTable `toml:"ready"`
	// How it is asked to end.
	Stop stopTable `toml:"stop"`
	// A socket that hobd holds for it, through restarts and crashes: `"host:port"`, `"unix:PATH"` or a table. The service gets it as
	// descriptor 3, as sd_listen_fds(3) has it.
	Listen listenTable `toml:"listen"`
	// It is stopped after this long without a connection and without a lease; who has one has three seconds more to come back when hobd was
	// killed or replaced. With `listen`, `hob up` binds its socket only, and each
	// time the first connection starts it; without, only leases count.
	Idle duration `toml:"idle"`
	// Which ends are followed by another start: none, those that are failures, or all.
	Restart restart `toml:"restart" default:"on-failure"`
	// How to see that it still works.
	Alive aliveTable `toml:"alive"`
	// It is restarted when files change that match one of these and none of those with `!` in front.
	Watch globs `toml:"watch" later:"true"`
	// It gets a terminal, for `hob attach`.
	TTY boolean `toml:"tty" default:"false"`
	// How much of its output is kept.
	Log logTable `toml:"log"`
	// It is part of a bare `hob up`.
	Auto boolean `toml:"auto" default:"true"`
}

// readyTable is the key ready: exactly one of its keys besides timeout.
type readyTable struct {
	set
	// A line of its output matches this regular expression ([RE2](https://github.com/google/re2/wiki/Syntax)).
	Log expression `toml:"log"`
	// This host:port accepts connections.
	TCP hostPort `toml:"tcp"`
	// A GET of this http:// URL is answered with 200 to 399.
	HTTP url `toml:"http"`
	// This command exits with 0; a string or an array as with `run`.
	Exec command `toml:"exec"`
	// It says READY=1, sd_notify(3). Only `true` means anything.
	Notify boolean `toml:"notify"`
	// It writes a newline to this descriptor, as s6 has it: 3 to 9 or 11 to 255.
	FD descriptor `toml:"fd"`
	// How long it may take.
	Timeout duration `toml:"timeout" default:"60s"`
}

// stopTable is the key stop.
type stopTable struct {
	set
	// The first signal, with or without SIG.
	Signal signal `toml:"signal" default:"TERM"`
	// After this long the whole tree gets KILL.
	Timeout duration `toml:"timeout" default:"5s"`
}

// listenTable is the key listen, which may be the address alone.
type listenTable struct {
	set
	// Where: `"host:port"` or `"unix:PATH"`, with PATH relative to the project's root.
	Addr address `toml:"addr" default:"required"`
	// hobd accepts and forwards, for programs that can't take a socket over. They are not given one.
	Proxy boolean `toml:"proxy" default:"false"`
	// Where a proxy forwards to. Without it: the address of `ready`, else a free port given as $PORT.
	To address `toml:"to"`
}

// aliveTable is the key alive: exactly one of http, tcp and exec.
type aliveTable struct {
	set
	// A GET of this http:// URL is answered with 200 to 399.
	HTTP url `toml:"http"`
	// This host:port accepts connections.
	TCP hostPort `toml:"tcp"`
	// This command exits with 0; a string or an array as with `run`.
	Exec command `toml:"exec"`
	// How often to look.
	Every duration `toml:"every" default:"10s"`
	// So many failures in a row make it unready.
	Fails count `toml:"fails" default:"3"`
}

// logTable is the key log.
type logTable struct {
	set
	// The size at which a new segment begins: bytes, or a string with a unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB). At least 4 KiB.
	Max size `toml:"max" default:"10MB"`
	// How many full segments are kept beside the one that is written.
	Keep keep `toml:"keep" default:"3"`
}

// daemonTable is the table [daemon].
type daemonTable struct {
	set
	// hobd leaves after this long in which nothing ran, nothing was held and nobody was connected.
	IdleExit duration `toml:"idle_exit"`
}

// foreignKeys gives the keys of other supervisors, and what they are here, by the type of the table. It is a
// function, for nearly nobody needs them, and a variable would be made at every start of the program.
func foreignKeys() map[string]map[string]string {
	return map[string]map[string]string{
		"document": {
			"service": "services", "process": "services", "processes": "services", "programs": "services", "tasks": "services",
			"hobd": "daemon", "idle_exit": "daemon.idle_exit",
		},
		"serviceTable": {
			"command": "run", "cmd": "run", "exec": "run", "script": "run", "entrypoint": "run", "program": "run", "start": "run",
			"depends_on": "needs", "depends": "needs", "dependencies": "needs", "after": "needs", "requires": "needs",
			"working_dir": "dir", "working_directory": "dir", "workdir": "dir", "cwd": "dir", "directory": "dir", "chdir": "dir",
			"environment": "env", "vars": "env", "dotenv": "env_file", "environment_file": "env_file",
			"healthcheck": "ready", "health": "ready", "readiness_probe": "ready", "readiness": "ready",
			"liveness_probe": "alive", "liveness": "alive", "shutdown": "stop", "stop_signal": "stop.signal", "kill_signal": "stop.signal",
			"autostart": "auto", "autorestart": "restart", "restart_policy": "restart", "availability": "restart",
			"idle_timeout": "idle", "is_tty": "tty", "pty": "tty", "logs": "log", "logging": "log", "socket": "listen", "timeout": "ready.timeout",
		},
		"readyTable": {
			"command": "exec", "cmd": "exec", "run": "exec", "test": "exec", "url": "http", "http_get": "http", "https": "http", "port": "tcp", "addr": "tcp",
			"regex": "log", "output": "log", "log_line": "log", "delay": "timeout", "timeout_seconds": "timeout",
		},
		"stopTable":   {"grace": "timeout", "timeout_seconds": "timeout", "sig": "signal"},
		"listenTable": {"address": "addr", "port": "addr", "forward": "to", "target": "to"},
		"aliveTable": {
			"command": "exec", "cmd": "exec", "run": "exec", "url": "http", "port": "tcp", "interval": "every", "period": "every", "period_seconds": "every",
			"retries": "fails", "failures": "fails", "failure_threshold": "fails",
		},
		"logTable":    {"max_size": "max", "size": "max", "max_files": "keep", "max_file": "keep", "count": "keep", "backups": "keep"},
		"daemonTable": {"idle": "idle_exit", "idle_timeout": "idle_exit"},
	}
}
