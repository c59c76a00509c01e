package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// project makes a directory with files in it and gives its path.
func project(t testing.TB, files map[string]string) string {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for name, text := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return root
}

// web is the beginning of a good file.
const web = "[services.web]\nrun = \"a\"\n"

// bad are files that can't be used, by what is wrong, and all that is said about them, with the hint for the first.
var bad = []struct{ what, file, want string }{
	// TOML itself.
	{"no value", "[services.web]\nrun =\n",
		`hob.toml:2:6: unexpected character U+000A at start of value`},
	{"no equals sign", "[services.web]\nrun\n",
		`hob.toml:2:4: expected '=' after key`},
	{"open header", "[services.web\nrun = \"x\"\n",
		`hob.toml:1:14: expected ']' to close table name`},
	{"open string", "[services.web]\nrun = \"x\n",
		`hob.toml:2:9: basic strings cannot have new lines`},
	{"open array", "[services.web]\nrun = [\"x\",\n",
		`hob.toml:2:12: array is incomplete`},
	{"open inline table", "[services.web]\nready = { fd = 3\n",
		`hob.toml:2:17: inline table is incomplete`},
	{"bad escape", "[services.web]\nrun = \"a\\qb\"\n",
		`hob.toml:2:9: invalid escape character U+0071 'q'`},
	{"control character", "[services.web]\nrun = \"a\x01b\"\n",
		`hob.toml:2:9: basic strings cannot have control characters`},
	{"NUL", "[services.web]\nrun = \"a\x00b\"\n",
		`hob.toml:2:9: basic strings cannot have control characters`},
	{"lone carriage return", "[services.web]\rrun = \"a\"\n",
		`hob.toml:1:15: expected newline but got U+000D`},
	{"not UTF-8", "[services.web]\nrun = \"\xe9\"\n",
		`hob.toml:2:8: byte 0xe9 is not UTF-8`},
	{"binary", "\x7fELF\x02\x01\x01\x00\x00",
		`hob.toml:1:1: invalid character at start of key: U+007F`},
	{"UTF-16", "\xff\xfe[\x00s\x00",
		`hob.toml:1:1: byte 0xff is not UTF-8`},
	{"YAML", "services:\n  web:\n    run: x\n",
		`hob.toml:1:9: expected '=' after key`},
	{"JSON", "{\"services\": {}}\n",
		`hob.toml:1:1: invalid character at start of key: U+007B '{'`},
	{"two values on a line", "[services.web]\nrun = \"a\" dir = \"b\"\n",
		`hob.toml:2:11: expected newline but got U+0064 'd'`},
	{"key twice", web + `run = "b"`,
		`hob.toml:3:1: key services.web.run is already defined in line 2`},
	{"key twice inline", web + `stop = { signal = "INT", signal = "TERM" }`,
		`hob.toml:3:26: key signal is already defined in line 3`},
	{"table twice", web + "\n[services.web]\ndir = \"b\"\n",
		`hob.toml:4:11: table services.web is already defined in line 1`},
	{"table and key", web + "ready = { fd = 3 }\n[services.web.ready]\ntimeout = \"3s\"\n",
		`hob.toml:4:15: key services.web.ready is already defined in line 3`},
	{"dotted into inline", "[services]\nweb = { run = \"a\" }\nweb.dir = \"b\"\n",
		`hob.toml:3:1: key services.web is already defined in line 2`},
	{"octal as in C", web + `log.keep = 03`,
		`hob.toml:3:12: integers cannot have leading zeroes`},
	{"huge integer", web + `log.keep = 99999999999999999999`,
		`hob.toml:3:12: number 99999999999999999999 does not fit into 64 bits`},
	{"deep key", web + strings.Repeat("a.", 40) + "b = 1\n",
		`hob.toml:3:65: a key of more than 32 parts`},
	{"deep array", "[services.web]\nrun = " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n",
		`hob.toml:2:7: arrays and tables are nested more than 32 deep`},
	{"impossible date", "[services.web]\nrun = 2026-13-41\n",
		`hob.toml:2:7: service "web": run: expected a string or an array of strings like "npm run dev" or ["npm", "run", "dev"], not a date or time`},
	{"array of tables", "[[services]]\nname = \"web\"\n",
		`hob.toml:1:3: services: expected a table for each service like [services.web], not an array`},
	{"array of tables for one", "[[services.web]]\nrun = \"a\"\n",
		`hob.toml:1:12: services.web: expected a table for the service like [services.web], not an array`},
	// Keys.
	{"unknown key", web + "\nrestart_dely = 3\n",
		`hob.toml:4:1: service "web": unknown key "restart_dely" (did you mean "restart"?)`},
	{"misspelled key", web + `redy = { fd = 3 }`,
		`hob.toml:3:1: service "web": unknown key "redy" (did you mean "ready"?)`},
	{"capital key", "[services.web]\nRUN = \"a\"\n",
		`hob.toml:2:1: service "web": unknown key "RUN" (did you mean "run"?)`},
	{"key of compose", "[services.web]\ncommand = \"a\"\ndepends_on = [\"db\"]\nworking_dir = \"x\"\nenvironment = {}\nhealthcheck = {}\n",
		`hob.toml:2:1: service "web": unknown key "command" (did you mean "run"?)` + "\n" +
			`hob.toml:3:1: service "web": unknown key "depends_on" (did you mean "needs"?)` + "\n" +
			`hob.toml:4:1: service "web": unknown key "working_dir" (did you mean "dir"?)` + "\n" +
			`hob.toml:5:1: service "web": unknown key "environment" (did you mean "env"?)` + "\n" +
			`hob.toml:6:1: service "web": unknown key "healthcheck" (did you mean "ready"?)`},
	{"key of others", web + "cwd = \"x\"\nreadiness_probe = {}\ndepends-on = []\nautostart = false\nstop_signal = \"INT\"\n",
		`hob.toml:3:1: service "web": unknown key "cwd" (did you mean "dir"?)` + "\n" +
			`hob.toml:4:1: service "web": unknown key "readiness_probe" (did you mean "ready"?)` + "\n" +
			`hob.toml:5:1: service "web": unknown key "depends-on" (did you mean "needs"?)` + "\n" +
			`hob.toml:6:1: service "web": unknown key "autostart" (did you mean "auto"?)` + "\n" +
			`hob.toml:7:1: service "web": unknown key "stop_signal" (did you mean "stop.signal"?)`},
	{"unknown key in ready", web + `ready = { prot = 3 }`,
		`hob.toml:3:11: service "web": ready: unknown key "prot"`},
	{"key of others in ready", web + `ready = { port = 3 }`,
		`hob.toml:3:11: service "web": ready: unknown key "port" (did you mean "tcp"?)`},
	{"unknown key in stop", web + "[services.web.stop]\nsignl = \"INT\"\n",
		`hob.toml:4:1: service "web": stop: unknown key "signl" (did you mean "signal"?)`},
	{"unknown key in listen", web + `listen = { address = "127.0.0.1:80" }`,
		`hob.toml:3:12: service "web": listen: unknown key "address" (did you mean "addr"?)`},
	{"unknown key in alive", web + `alive = { tcp = "h:1", interval = "3s" }`,
		`hob.toml:3:24: service "web": alive: unknown key "interval" (did you mean "every"?)`},
	{"unknown key in log", web + `log = { max_size = "1MB" }`,
		`hob.toml:3:9: service "web": log: unknown key "max_size" (did you mean "max"?)`},
	{"unknown key in daemon", "[daemon]\nidle = \"3m\"\n",
		`hob.toml:2:1: daemon: unknown key "idle" (did you mean "idle_exit"?)`},
	{"unknown table", "[demon]\nidle_exit = \"3m\"\n",
		`hob.toml:1:2: unknown key "demon" (did you mean "daemon"?)`},
	{"service at the top", "[web]\nrun = \"a\"\n",
		`hob.toml:1:2: unknown key "web" (did you mean "services.web"?)`},
	{"service at the top with dots", "[\"api.v1\"]\nrun = \"a\"\n",
		`hob.toml:1:2: unknown key "api.v1" (did you mean "services.\"api.v1\""?)`},
	{"service in singular", "[service.web]\nrun = \"a\"\n",
		`hob.toml:1:2: unknown key "service" (did you mean "services"?)`},
	{"key at the top", "run = \"a\"\n",
		`hob.toml:1:1: unknown key "run"` + "\n" +
			`hint: it belongs into the table of a service: [services.NAME]`},
	{"key of nobody at the top", "version = 3\n",
		`hob.toml:1:1: unknown key "version"`},
	{"key in services", "[services]\nrun = \"a\"\n",
		`hob.toml:2:7: services.run: expected a table for the service like [services.web], not a string` + "\n" +
			`hint: it belongs into the table of a service: [services.NAME]`},
	{"odd key", web + "\"\\u001b]0;x\" = 1\n",
		`hob.toml:3:1: service "web": unknown key "\x1b]0;x"`},
	{"long key", web + strings.Repeat("x", 300) + " = 1\n",
		`hob.toml:3:1: service "web": unknown key "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"`},
	// Names.
	{"bad name", "[services.\"a b\"]\nrun = \"a\"\n",
		`hob.toml:1:11: service name "a b": not [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without ".."`},
	{"empty name", "[services.\"\"]\nrun = \"a\"\n",
		`hob.toml:1:11: service name "": not [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without ".."`},
	{"name with dots", "[services.\"a..b\"]\nrun = \"a\"\n",
		`hob.toml:1:11: service name "a..b": not [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without ".."`},
	// run.
	{"no run", "[services.web]\ndir = \"a\"\n",
		`hob.toml:1:11: service "web": run is missing` + "\n" +
			`hint: run = "npm run dev", or ["npm", "run", "dev"]`},
	{"empty run", "[services.web]\nrun = \"\"\n",
		`hob.toml:2:7: service "web": run: no command`},
	{"blank run", "[services.web]\nrun = \" \\t\"\n",
		`hob.toml:2:7: service "web": run: no command`},
	{"empty array", "[services.web]\nrun = []\n",
		`hob.toml:2:7: service "web": run: no command`},
	{"empty program", "[services.web]\nrun = [\"\", \"x\"]\n",
		`hob.toml:2:7: service "web": run: no command`},
	{"run of numbers", "[services.web]\nrun = [\"sleep\", 3]\n",
		`hob.toml:2:17: service "web": run: expected an array of strings like ["npm", "run", "dev"]; this is an integer`},
	{"run is a number", "[services.web]\nrun = 3\n",
		`hob.toml:2:7: service "web": run: expected a string or an array of strings like "npm run dev" or ["npm", "run", "dev"], not an integer`},
	{"run is a table", "[services.web]\nrun = { cmd = \"a\" }\n",
		`hob.toml:2:7: service "web": run: expected a string or an array of strings like "npm run dev" or ["npm", "run", "dev"], not a table`},
	{"NUL in run", "[services.web]\nrun = [\"a\", \"b\\u0000\"]\n",
		`hob.toml:2:13: service "web": run: a NUL byte, which no program can be given`},
	// dir, env, env_file.
	{"dir is an array", web + `dir = ["a"]`,
		`hob.toml:3:7: service "web": dir: expected a string like "api", not an array`},
	{"empty dir", web + `dir = ""`,
		`hob.toml:3:7: service "web": dir: an empty path`},
	{"tilde", web + `dir = "~/x"`,
		`hob.toml:3:7: service "web": dir: "~/x": ~ is not expanded here; write a path relative to hob.toml, or an absolute one`},
	{"env is an array", web + `env = ["A=1"]`,
		`hob.toml:3:7: service "web": env: expected a table like { PORT = "8080" }, not an array`},
	{"env is nested", web + `env = { A = { B = 1 }, C = [1], D = 2026-01-01 }`,
		`hob.toml:3:13: service "web": env.A: expected a string like "8080", not a table` + "\n" +
			`hob.toml:3:28: service "web": env.C: expected a string like "8080", not an array` + "\n" +
			`hob.toml:3:37: service "web": env.D: expected a string like "8080", not a date or time`},
	{"env with =", web + "env = { \"A=B\" = 1, \"\" = 2, \"A\\u0000\" = 3 }\n",
		`hob.toml:3:9: service "web": env: "A=B" is not the name of a variable` + "\n" +
			`hob.toml:3:20: service "web": env: "" is not the name of a variable` + "\n" +
			`hob.toml:3:28: service "web": env: "A\x00" is not the name of a variable`},
	{"NUL in env", web + "env = { A = \"x\\u0000\" }\n",
		`hob.toml:3:13: service "web": env.A: a NUL byte, which no program can be given`},
	{"no env file", web + `env_file = ["web.env", "x/.env"]`,
		`hob.toml:3:13: service "web": env_file: no such file "web.env"` + "\n" +
			`hob.toml:3:24: service "web": env_file: no such file "x/.env"`},
	{"env_file is a number", web + `env_file = 3`,
		`hob.toml:3:12: service "web": env_file: expected a path or an array of them like [".env"], not an integer`},
	{"env_file of numbers", web + `env_file = [3]`,
		`hob.toml:3:13: service "web": env_file: expected a string like ".env", not an integer`},
	// needs.
	{"needs is a string", web + `needs = "db"`,
		`hob.toml:3:9: service "web": needs: expected an array or a table like ["db"] or { db = "ready", migrate = "done" }, not a string`},
	{"needs nobody knows", web + "needs = [\"bd\", \"x\"]\n[services.db]\nrun = \"b\"\n",
		`hob.toml:3:10: service "web": needs: no service "bd" (did you mean "db"?)` + "\n" +
			`hob.toml:3:16: service "web": needs: no service "x"`},
	{"needs nobody knows in a table", web + "needs = { bd = \"ready\" }\n[services.db]\nrun = \"b\"\n",
		`hob.toml:3:11: service "web": needs: no service "bd" (did you mean "db"?)`},
	{"needs itself", web + `needs = ["web"]`,
		`hob.toml:3:10: service "web": needs: the service needs itself`},
	{"needs twice", web + "needs = [\"db\", \"db\"]\n[services.db]\nrun = \"b\"\n",
		`hob.toml:3:16: service "web": needs: service "db" is named twice`},
	{"needs for what", web + "needs = { db = \"redy\", x = \"healthy\", y = true }\n[services.db]\nrun = \"b\"\n",
		`hob.toml:3:16: service "web": needs.db: "redy" is not "ready" or "done" (did you mean "ready"?)` + "\n" +
			`hob.toml:3:28: service "web": needs.x: "healthy" is not "ready" or "done" (did you mean "ready"?)` + "\n" +
			`hob.toml:3:43: service "web": needs.y: expected a string like "ready" or "done", not a boolean`},
	{"needs a number", web + `needs = [1]`,
		`hob.toml:3:10: service "web": needs: expected the name of a service like "db", not an integer`},
	{"needs done of what goes on", web + "needs = { db = \"done\" }\n[services.db]\nrun = \"b\"\nrestart = \"always\"\n",
		`hob.toml:3:11: service "web": needs: service "db" is never done, for it has restart = "always"`},
	{"circle", web + "needs = [\"api\"]\n[services.api]\nrun = \"a\"\nneeds = [\"web\"]\n",
		`hob.toml:6:10: service "api": needs: a cycle: web → api → web`},
	{"circle further down", "[services.a]\nrun = \"a\"\nneeds = [\"b\"]\n[services.b]\nrun = \"a\"\nneeds = [\"c\"]\n[services.c]\nrun = \"a\"\nneeds = { d = \"ready\" }\n[services.d]\nrun = \"a\"\nneeds = [\"b\"]\n",
		`hob.toml:12:10: service "d": needs: a cycle: b → c → d → b`},
	// ready.
	{"ready is a string", web + `ready = "tcp"`,
		`hob.toml:3:9: service "web": ready: expected a table like { tcp = "127.0.0.1:5432" }, not a string`},
	{"ready is empty", web + `ready = { timeout = "3s" }`,
		`hob.toml:3:9: service "web": ready: one of log, tcp, http, exec, notify or fd is needed`},
	{"ready is two", web + `ready = { tcp = "h:1", http = "http://h/" }`,
		`hob.toml:3:24: service "web": ready: it has both tcp and http, and only one of log, tcp, http, exec, notify or fd can be`},
	{"bad expression", web + `ready.log = "list[en"`,
		`hob.toml:3:13: service "web": ready.log: "list[en" is not a regular expression: missing closing ]`},
	{"expression of Perl", web + `ready.log = "(?=x)"`,
		`hob.toml:3:13: service "web": ready.log: "(?=x)" is not a regular expression: invalid or unsupported Perl syntax`},
	{"empty expression", web + `ready.log = ""`,
		`hob.toml:3:13: service "web": ready.log: an empty expression matches every line`},
	{"tcp is a port", web + `ready.tcp = 5432`,
		`hob.toml:3:13: service "web": ready.tcp: expected a string like "127.0.0.1:5432", not an integer (did you mean "127.0.0.1:5432"?)`},
	{"tcp is a port in quotes", web + `ready.tcp = "5432"`,
		`hob.toml:3:13: service "web": ready.tcp: "5432" has no host (did you mean "127.0.0.1:5432"?)`},
	{"tcp without host", web + `ready.tcp = ":5432"`,
		`hob.toml:3:13: service "web": ready.tcp: ":5432" has no host (did you mean "127.0.0.1:5432"?)`},
	{"tcp without port", web + `ready.tcp = "localhost"`,
		`hob.toml:3:13: service "web": ready.tcp: "localhost" is not host:port like "127.0.0.1:5432"`},
	{"tcp with a named port", web + `ready.tcp = "localhost:http"`,
		`hob.toml:3:13: service "web": ready.tcp: "localhost:http": the port is not a number from 1 to 65535`},
	{"tcp with a high port", web + `ready.tcp = "localhost:65536"`,
		`hob.toml:3:13: service "web": ready.tcp: "localhost:65536": the port is not a number from 1 to 65535`},
	{"tcp with a sign", web + `ready.tcp = "localhost:+80"`,
		`hob.toml:3:13: service "web": ready.tcp: "localhost:+80": the port is not a number from 1 to 65535`},
	{"tcp is a URL", web + `ready.tcp = "http://localhost:80"`,
		`hob.toml:3:13: service "web": ready.tcp: "http://localhost:80" is not host:port like "127.0.0.1:5432"`},
	{"https", web + `ready.http = "https://localhost/x"`,
		`hob.toml:3:14: service "web": ready.http: "https://localhost/x": only http:// is asked, not https://` + "\n" +
			`hint: use exec = "curl -fsS https://localhost/x"`},
	{"http without scheme", web + `ready.http = "localhost:80/x"`,
		`hob.toml:3:14: service "web": ready.http: "localhost:80/x" does not begin with http:// (did you mean "http://localhost:80/x"?)`},
	{"http is a path", web + `ready.http = "/healthz"`,
		`hob.toml:3:14: service "web": ready.http: "/healthz" does not begin with http://`},
	{"http without host", web + `ready.http = "http:///x"`,
		`hob.toml:3:14: service "web": ready.http: "http:///x" has no host`},
	{"http with a bad port", web + `ready.http = "http://h:99999/"`,
		`hob.toml:3:14: service "web": ready.http: "http://h:99999/": the port is not a number from 1 to 65535`},
	{"http with a space", web + `ready.http = "http://h/a b"`,
		`hob.toml:3:14: service "web": ready.http: "http://h/a b" is not a URL like "http://127.0.0.1:8080/"`},
	{"ftp", web + `ready.http = "ftp://h/"`,
		`hob.toml:3:14: service "web": ready.http: "ftp://h/" does not begin with http://`},
	{"exec is empty", web + `ready.exec = []`,
		`hob.toml:3:14: service "web": ready.exec: no command`},
	{"notify is a string", web + `ready.notify = "yes"`,
		`hob.toml:3:16: service "web": ready.notify: expected true or false, not a string (did you mean true without quotes?)`},
	{"notify is false", web + `ready.notify = false`,
		`hob.toml:3:16: service "web": ready.notify: only true means anything; leave the key out`},
	{"fd of the lock", web + `ready.fd = 10`,
		`hob.toml:3:12: service "web": ready.fd: descriptor 10 is used by hob itself; take 3 to 9 or 11 to 255`},
	{"fd of stdout", web + `ready.fd = 1`,
		`hob.toml:3:12: service "web": ready.fd: descriptor 1 is not 3 to 9 or 11 to 255`},
	{"fd is high", web + `ready.fd = 256`,
		`hob.toml:3:12: service "web": ready.fd: descriptor 256 is not 3 to 9 or 11 to 255`},
	{"fd is a string", web + `ready.fd = "3"`,
		`hob.toml:3:12: service "web": ready.fd: expected a descriptor like 3, not a string`},
	// Durations, sizes, signals, words.
	{"duration without unit", web + `stop.timeout = "10"`,
		`hob.toml:3:16: service "web": stop.timeout: "10" is not a duration like "500ms", "10s" or "1m30s"`},
	{"duration is a number", web + `stop.timeout = 10`,
		`hob.toml:3:16: service "web": stop.timeout: expected a duration like "10s", not an integer (did you mean "10s"?)`},
	{"duration is negative", web + `stop.timeout = "-1s"`,
		`hob.toml:3:16: service "web": stop.timeout: "-1s" is not more than 0`},
	{"duration is 0", web + `idle = "0s"`,
		`hob.toml:3:8: service "web": idle: "0s" is not more than 0`},
	{"duration in days", "[daemon]\nidle_exit = \"1d\"\n",
		`hob.toml:2:13: daemon.idle_exit: "1d" is not a duration like "500ms", "10s" or "1m30s"`},
	{"duration is a boolean", "[daemon]\nidle_exit = false\n",
		`hob.toml:2:13: daemon.idle_exit: expected a string like "10s", not a boolean`},
	{"size without number", web + `log.max = "MB"`,
		`hob.toml:3:11: service "web": log.max: "MB" is not a size like "10MB", "512KiB" or a number of bytes`},
	{"size with a bad unit", web + `log.max = "10 Mb"`,
		`hob.toml:3:11: service "web": log.max: "10 Mb" is not a size like "10MB", "512KiB" or a number of bytes`},
	{"size is small", web + `log.max = "4KB"`,
		`hob.toml:3:11: service "web": log.max: 4KB is less than 4KiB`},
	{"size is huge", web + `log.max = "10000000TB"`,
		`hob.toml:3:11: service "web": log.max: "10000000TB" is not a size like "10MB", "512KiB" or a number of bytes`},
	{"size is negative", web + `log.max = -1`,
		`hob.toml:3:11: service "web": log.max: -1 is less than 4KiB`},
	{"size is empty", web + `log.max = ""`,
		`hob.toml:3:11: service "web": log.max: "" is not a size like "10MB", "512KiB" or a number of bytes`},
	{"size is a float", web + `log.max = 1.5`,
		`hob.toml:3:11: service "web": log.max: expected a size like "10MB", not a floating-point number`},
	{"keep is negative", web + `log.keep = -1`,
		`hob.toml:3:12: service "web": log.keep: -1 is not between 0 and 1048576`},
	{"keep is a string", web + `log.keep = "3"`,
		`hob.toml:3:12: service "web": log.keep: expected an integer like 3, not a string`},
	{"signal of nobody", web + `stop.signal = "TREM"`,
		`hob.toml:3:15: service "web": stop.signal: "TREM" is not a signal like "INT" or "TERM" (did you mean "TERM"?)`},
	{"signal is a number", web + `stop.signal = 15`,
		`hob.toml:3:15: service "web": stop.signal: expected a string like "INT", not an integer`},
	{"restart is a boolean", web + `restart = true`,
		`hob.toml:3:11: service "web": restart: expected "no", "on-failure" or "always", not a boolean (did you mean "always"?)`},
	{"restart of nobody", web + `restart = "on-falure"`,
		`hob.toml:3:11: service "web": restart: "on-falure" is not "no", "on-failure" or "always" (did you mean "on-failure"?)`},
	{"restart of compose", web + `restart = "unless-stopped"`,
		`hob.toml:3:11: service "web": restart: "unless-stopped" is not "no", "on-failure" or "always" (did you mean "always"?)`},
	{"auto is a string", web + `auto = "false"`,
		`hob.toml:3:8: service "web": auto: expected true or false, not a string (did you mean false without quotes?)`},
	{"tty is a number", web + `tty = 1`,
		`hob.toml:3:7: service "web": tty: expected true or false, not an integer`},
	// listen, alive, watch.
	{"listen is an array", web + `listen = ["h:1"]`,
		`hob.toml:3:10: service "web": listen: expected an address like "127.0.0.1:8080" or { addr = "127.0.0.1:8080", proxy = true }, not an array`},
	{"listen is a port", web + `listen = 8080`,
		`hob.toml:3:10: service "web": listen: expected a string like "127.0.0.1:5432", not an integer (did you mean "127.0.0.1:8080"?)`},
	{"listen is a path", web + `listen = "./web.sock"`,
		`hob.toml:3:10: service "web": listen: "./web.sock" is not "host:port" or "unix:PATH" (did you mean "unix:./web.sock"?)`},
	{"listen is an empty path", web + `listen = "unix:"`,
		`hob.toml:3:10: service "web": listen: an empty path`},
	{"listen without address", web + `listen = { proxy = true }`,
		`hob.toml:3:10: service "web": listen: addr is missing`},
	{"the watchdog", web + `watchdog = "30s"`,
		`hob.toml:3:1: service "web": unknown key "watchdog"` + "\n" + `hint: the watchdog of sd_notify(3) is for a later version; see alive`},
	{"listen with a control byte", web + `listen = "unix:/run/a\tb"`,
		`hob.toml:3:10: service "web": listen: address "unix:/run/a\tb": a control character in it`},
	{"listen with a way up", web + `listen = "unix:../x.sock"`,
		`hob.toml:3:10: service "web": listen: "unix:../x.sock": a path with ".."`},
	{"listen on a long path", web + `listen = "unix:/` + strings.Repeat("x", 10000) + `"`,
		`hob.toml:3:10: service "web": listen: address "unix:/` + strings.Repeat("x", 74) + `…": the path has 10001 bytes, and a socket's can have 103`},
	{"listen on a long name", web + `listen = "` + strings.Repeat("x", 10000) + `:1"`,
		`hob.toml:3:10: service "web": listen: address "` + strings.Repeat("x", 80) + `…": not the name of a host`},
	{"ready at its own socket", web + "listen = \"h:1\"\nready.tcp = \"h:1\"\n",
		`hob.toml:4:13: service "web": ready.tcp: "h:1" is the address of listen, which accepts before the service is there` + "\n" +
			`hint: use http, notify or log; or leave ready out`},
	{"a proxy to itself", web + `listen = { addr = "h:1", proxy = true, to = "h:1" }`,
		`hob.toml:3:45: service "web": listen.to: it is where hobd listens itself`},
	{"a proxy to itself by another name", web + `listen = { addr = "0.0.0.0:1", proxy = true, to = "localhost:1" }`,
		`hob.toml:3:51: service "web": listen.to: it is where hobd listens itself`},
	{"two at one address", "services.a = { run = \"a\", listen = \"unix:x\" }\nservices.b = { run = \"a\", listen = \"unix:./x\" }\n",
		`hob.toml:2:36: service "b": listen: "unix:./x" is where service "a" listens`},
	{"listen to without proxy", web + `listen = { addr = "h:1", to = "h:2" }`,
		`hob.toml:3:31: service "web": listen.to: it is for proxy = true`},
	{"listen and a shell", "[services.web]\nrun = \"cd x && a\"\nlisten = \"h:1\"\n",
		`hob.toml:2:7: service "web": run: with listen it must be one simple command or an array: a shell in between does not hand the socket over` + "\n" +
			`hint: use an array, as in ["npm", "run", "dev"]`},
	{"listen and its descriptor", web + "listen = \"h:1\"\nready.fd = 3\n",
		`hob.toml:4:12: service "web": ready.fd: descriptor 3 is the socket of listen`},
	{"alive is empty", web + `alive = {}`,
		`hob.toml:3:9: service "web": alive: one of http, tcp or exec is needed`},
	{"alive is two", web + `alive = { exec = "x", tcp = "h:1" }`,
		`hob.toml:3:23: service "web": alive: it has both exec and tcp, and only one of http, tcp or exec can be`},
	{"alive never fails", web + `alive = { tcp = "h:1", fails = 0 }`,
		`hob.toml:3:32: service "web": alive.fails: 0 is not between 1 and 1048576`},
	{"watch is a string", web + `watch = "**/*.go"`,
		`hob.toml:3:9: service "web": watch: expected an array of patterns like ["**/*.go", "!**/*_test.go"], not a string`},
	{"watch is no pattern", web + `watch = ["[a", "", "!", 3]`,
		`hob.toml:3:10: service "web": watch: "[a" is not a pattern of files` + "\n" +
			`hob.toml:3:16: service "web": watch: "" is not a pattern of files` + "\n" +
			`hob.toml:3:20: service "web": watch: "!" is not a pattern of files` + "\n" +
			`hob.toml:3:25: service "web": watch: expected an array of strings like ["**/*.go"]; this is an integer`},
	{"watch leads out", web + `watch = ["/etc/*", "../x"]`,
		`hob.toml:3:10: service "web": watch: "/etc/*" leads out of the project` + "\n" +
			`hob.toml:3:20: service "web": watch: "../x" leads out of the project`},
	{"watch nothing", web + `watch = ["!**/*.go"]`,
		`hob.toml:3:9: service "web": watch: nothing is watched by it; add a pattern without "!"`},
	// Wrong tables.
	{"services is an integer", "services = 3\n",
		`hob.toml:1:12: services: expected a table for each service like [services.web], not an integer`},
	{"daemon is a string", "daemon = \"x\"\n",
		`hob.toml:1:10: daemon: expected a table like { idle_exit = "10m" }, not a string`},
	{"service is a string", "[services]\nweb = \"npm run dev\"\n",
		`hob.toml:2:7: services.web: expected a table for the service like [services.web], not a string`},
	{"several at once", "[services.web]\nrun = 3\nneeds = [\"x\"]\nfoo = 1\n[services.db]\nstop.signal = \"X\"\n",
		`hob.toml:2:7: service "web": run: expected a string or an array of strings like "npm run dev" or ["npm", "run", "dev"], not an integer` + "\n" +
			`hob.toml:3:10: service "web": needs: no service "x"` + "\n" +
			`hob.toml:4:1: service "web": unknown key "foo"` + "\n" +
			`hob.toml:5:11: service "db": run is missing` + "\n" +
			`hob.toml:6:15: service "db": stop.signal: "X" is not a signal like "INT" or "TERM"`},
}

// told is all that an error says about files.
func told(t *testing.T, err error) string {
	e, ok := errors.AsType[*Errors](err)
	require.True(t, ok, "%T: %v", err, err)
	lines := []string{e.List[0].Error()}
	if hint := e.List[0].Hint; hint != "" {
		lines = append(lines, "hint: "+hint)
	}
	for _, one := range e.List[1:] {
		lines = append(lines, one.Error())
	}
	if e.More {
		lines = append(lines, "and more")
	}
	return strings.Join(lines, "\n")
}

func TestBadFilesAreRefusedWithTheirPlace(t *testing.T) {
	for _, c := range bad {
		t.Run(c.what, func(t *testing.T) {
			p, err := Load(project(t, map[string]string{FileName: c.file}))
			require.Nil(t, p)
			require.Equal(t, c.want, told(t, err))
		})
	}
}
