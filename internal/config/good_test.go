package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// spec is what holds for a service of hob.toml that says nothing but run = "a"; with changes what it says.
func spec(change func(*Service)) Service {
	s := Service{Auto: true, Spec: service.Spec{
		Name: "web", Cmd: []string{"sh", "-c", "exec a"}, Dir: "ROOT", Source: service.SourceFile,
		Stop: service.DefaultStop, Restart: service.RestartOnFailure, Log: service.DefaultLog,
	}}
	if change != nil {
		change(&s)
	}
	return s
}

// proc is the same for a Procfile.
func proc(change func(*Service)) Service {
	return spec(func(s *Service) {
		s.Source, s.Restart, s.Port = service.SourceProcfile, service.RestartNo, true
		if change != nil {
			change(s)
		}
	})
}

// good are files of a project and what they mean. ROOT stands for the project's root.
var good = []struct {
	what  string
	files map[string]string
	want  []Service
}{
	{"nothing", map[string]string{FileName: ""}, nil},
	{"no services", map[string]string{FileName: "[services]\n[daemon]\n"}, nil},
	{"defaults", map[string]string{FileName: web}, []Service{spec(nil)}},
	{"byte order mark and CRLF", map[string]string{FileName: "\ufeff[services.web]\r\nrun = \"a\"\r\n"}, []Service{spec(nil)}},
	{"inline", map[string]string{FileName: `services = { web = { run = "a" } }`}, []Service{spec(nil)}},
	{"dots", map[string]string{FileName: `services.web.run = "a"`}, []Service{spec(nil)}},
	{"array", map[string]string{FileName: "[services.web]\nrun = [\"go\", \"run\", \"./cmd/api\", \"\"]\n"},
		[]Service{spec(func(s *Service) { s.Cmd = []string{"go", "run", "./cmd/api", ""} })}},
	{"a shell's work", map[string]string{FileName: "[services.web]\nrun = \"a; b\"\n"},
		[]Service{spec(func(s *Service) { s.Cmd = []string{"sh", "-c", "a; b"} })}},
	{"several lines", map[string]string{FileName: "[services.web]\nrun = '''\na\nb\n'''\n"},
		[]Service{spec(func(s *Service) { s.Cmd = []string{"sh", "-c", "a\nb\n"} })}},
	{"directory", map[string]string{FileName: web + "dir = \"api/../cmd/\"\n"}, []Service{spec(func(s *Service) { s.Dir = "ROOT/cmd" })}},
	{"absolute directory", map[string]string{FileName: web + "dir = \"/srv//x\"\n"}, []Service{spec(func(s *Service) { s.Dir = "/srv/x" })}},
	{"everything", map[string]string{".env": "A=0\nC=3", "x/y.env": "A=1\nB=2\n", FileName: `
[services.web]
run      = "a"
needs    = { db = "ready", migrate = "done" }
env      = { B = "x", N = 8_080, F = 1.10, T = true, Q = "a=b\n" }
env_file = [".env", "x/y.env"]
ready    = { log = "up on \\d+", timeout = "90s" }
stop     = { signal = "SIGINT", timeout = "1m" }
listen   = { addr = "127.0.0.1:8080", proxy = true, to = "unix:run/web" }
idle     = "15m"
restart  = "always"
alive    = { exec = "check it", every = "5s", fails = 7 }
watch    = ["**/*.go", "!**/*_test.go"]
tty      = true
log      = { max = "64KiB", keep = 0 }
auto     = false
[services.db]
run   = "a"
ready = { tcp = "[::1]:5432" }
stop  = { signal = "QUIT" }
log   = { max = 4096 }
[services.migrate]
run     = "a"
restart = "no"
needs   = ["db"]
`}, []Service{
		spec(func(s *Service) {
			s.Needs = []service.Need{{Name: "db", For: service.NeedReady}, {Name: "migrate", For: service.NeedDone}}
			s.Set = []string{"A=1", "C=3", "B=x", "N=8080", "F=1.10", "T=true", "Q=a=b\n"}
			s.Ready = service.Readiness{Log: `up on \d+`, Timeout: 90 * time.Second}
			s.Stop = service.Stop{Signal: syscall.SIGINT, Timeout: time.Minute}
			s.Listen = service.Listen{Address: service.Address{Network: "tcp", Addr: "127.0.0.1:8080"}, Proxy: true, To: service.Address{Network: "unix", Addr: "ROOT/run/web"}}
			s.Idle, s.Restart, s.Watch, s.TTY, s.Auto = 15*time.Minute, service.RestartAlways, []string{"**/*.go", "!**/*_test.go"}, true, false
			s.Alive = service.Alive{Exec: []string{"sh", "-c", "exec check it"}, Every: 5 * time.Second, Fails: 7}
			s.Log = service.Log{Max: 65536, Keep: 0}
		}),
		spec(func(s *Service) {
			s.Name, s.Ready = "db", service.Readiness{TCP: "[::1]:5432", Timeout: service.DefaultReadyTimeout}
			s.Stop, s.Log = service.Stop{Signal: syscall.SIGQUIT, Timeout: 5 * time.Second}, service.Log{Max: 4096, Keep: 3}
		}),
		spec(func(s *Service) {
			s.Name, s.Restart, s.Needs = "migrate", service.RestartNo, []service.Need{{Name: "db", For: service.NeedReady}}
		}),
	}},
	{"ready by http", map[string]string{FileName: web + `ready = { http = "http://u:p@localhost:8080/healthz?x=1" }`}, []Service{spec(func(s *Service) {
		s.Ready = service.Readiness{HTTP: "http://u:p@localhost:8080/healthz?x=1", Timeout: time.Minute}
	})}},
	{"ready by exec", map[string]string{FileName: web + `ready = { exec = ["pg_isready"] }`}, []Service{spec(func(s *Service) {
		s.Ready = service.Readiness{Exec: []string{"pg_isready"}, Timeout: time.Minute}
	})}},
	{"ready by notify", map[string]string{FileName: web + `ready.notify = true`}, []Service{spec(func(s *Service) {
		s.Ready = service.Readiness{Notify: true, Timeout: time.Minute}
	})}},
	{"ready by fd, behind a socket", map[string]string{FileName: web + "ready.fd = 4\nlisten = \"unix:/run/x\"\n"}, []Service{spec(func(s *Service) {
		s.Ready = service.Readiness{FD: 4, Timeout: time.Minute}
		s.Listen = service.Listen{Address: service.Address{Network: "unix", Addr: "/run/x"}}
	})}},
	{"alive with defaults", map[string]string{FileName: web + `alive.tcp = "localhost:80"`}, []Service{spec(func(s *Service) {
		s.Alive = service.Alive{TCP: "localhost:80", Every: 10 * time.Second, Fails: 3}
	})}},
	{"ready of what always runs", map[string]string{FileName: web + "restart = \"always\"\n[services.api]\nrun = \"a\"\nneeds = [\"web\"]\n"}, []Service{
		spec(func(s *Service) { s.Restart = service.RestartAlways }),
		spec(func(s *Service) { s.Name, s.Needs = "api", []service.Need{{Name: "web", For: service.NeedReady}} }),
	}},
	{"order of the file", map[string]string{FileName: "services.z.run = \"a\"\nservices.a.run = \"a\"\nservices.m.run = \"a\"\n"}, []Service{
		spec(func(s *Service) { s.Name = "z" }), spec(func(s *Service) { s.Name = "a" }), spec(func(s *Service) { s.Name = "m" }),
	}},
	{"one env file as a string, absolute", map[string]string{FileName: web + "env_file = \"/dev/../ROOT/x\"\n", "x": "A=1"},
		[]Service{spec(func(s *Service) { s.Set = []string{"A=1"} })}},
	// hob.local.toml.
	{"local file", map[string]string{
		FileName:      web + "env = { A = 1, B = 2 }\nneeds = [\"db\"]\nstop = { signal = \"INT\", timeout = \"9s\" }\n[services.db]\nrun = \"a\"\n",
		LocalFileName: "[services.web]\nrun = [\"b\"]\nneeds = []\nenv = { B = 3, C = 4 }\nstop.timeout = \"1s\"\n[services.mine]\nrun = \"a\"\n[services.db]\nauto = false\n",
	}, []Service{
		spec(func(s *Service) {
			s.Cmd, s.Set = []string{"b"}, []string{"A=1", "B=3", "C=4"}
			s.Stop = service.Stop{Signal: syscall.SIGINT, Timeout: time.Second}
		}),
		spec(func(s *Service) { s.Name, s.Auto = "db", false }),
		spec(func(s *Service) { s.Name = "mine" }),
	}},
	{"local file with another kind of ready", map[string]string{
		FileName: web + "ready = { tcp = \"h:1\", timeout = \"5s\" }\nalive.tcp = \"h:1\"\n", LocalFileName: "services.web.ready.log = \"x\"\nservices.web.alive.every = \"1s\"\n",
	}, []Service{spec(func(s *Service) {
		s.Ready, s.Alive = service.Readiness{Log: "x", Timeout: 5 * time.Second}, service.Alive{TCP: "h:1", Every: time.Second, Fails: 3}
	})}},
	{"local file for services called ready and log", map[string]string{
		FileName: "services.ready = { run = \"a\", log.keep = 1 }\n", LocalFileName: "services.ready.log.max = \"8KiB\"\n",
	}, []Service{spec(func(s *Service) { s.Name, s.Log = "ready", service.Log{Max: 8192, Keep: 1} })}},
	{"local file with a shorter listen", map[string]string{
		FileName: web + "listen = { addr = \"h:1\", proxy = true }\n", LocalFileName: "services.web.listen = \"h:2\"\n",
	}, []Service{spec(func(s *Service) { s.Listen = service.Listen{Address: service.Address{Network: "tcp", Addr: "h:2"}} })}},
	// Procfile.
	{"empty Procfile", map[string]string{ProcfileName: ""}, nil},
	{"Procfile", map[string]string{ProcfileName: "\ufeff# x\r\nweb: a\r\n\r\n  my-2:b c # d\nlast :a && b"}, []Service{
		proc(nil),
		proc(func(s *Service) { s.Name, s.Cmd = "my-2", []string{"sh", "-c", "exec b c # d"} }),
		proc(func(s *Service) { s.Name, s.Cmd = "last", []string{"sh", "-c", "a && b"} }),
	}},
	{"Procfile with .env", map[string]string{ProcfileName: "web: a\n", ".env": "A=1\nA=2"}, []Service{proc(func(s *Service) { s.Set = []string{"A=2"} })}},
	{"Procfile with a PORT", map[string]string{ProcfileName: "web: a\n", ".env": "PORT=3000"},
		[]Service{proc(func(s *Service) { s.Set, s.Port = []string{"PORT=3000"}, false })}},
	{"Procfile with a directory .env", map[string]string{ProcfileName: "web: a\n", ".env/bin/python": ""}, []Service{proc(nil)}},
	{"hob.toml beats Procfile", map[string]string{ProcfileName: "b", FileName: web}, []Service{spec(nil)}},
}

func TestGoodFilesMeanWhatTheySay(t *testing.T) {
	for _, c := range good {
		t.Run(c.what, func(t *testing.T) {
			root := project(t, c.files)
			for name, text := range c.files {
				text = strings.ReplaceAll(text, "ROOT", root)
				require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
			}
			p, err := Load(root)
			require.NoError(t, err)
			var want []Service
			for _, s := range c.want {
				s.Dir = strings.Replace(s.Dir, "ROOT", root, 1)
				s.Listen.Addr, s.Listen.To.Addr = strings.Replace(s.Listen.Addr, "ROOT", root, 1), strings.Replace(s.Listen.To.Addr, "ROOT", root, 1)
				want = append(want, s)
			}
			require.Equal(t, want, p.Services)
			for _, s := range p.Services {
				require.NoError(t, s.CheckArgs())
			}
		})
	}
}

func TestProjectNamesTheFilesItWasReadFrom(t *testing.T) {
	root := project(t, map[string]string{FileName: web + "env_file = [\"a.env\", \"b.env\", \"./a.env\"]\n[daemon]\nidle_exit = \"10m\"\n", LocalFileName: "", "a.env": "", "b.env": "", ProcfileName: ""})
	p, err := Load(root)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, FileName), p.File)
	require.Equal(t, service.SourceFile, p.Source)
	require.Equal(t, 10*time.Minute, p.Daemon.IdleExit)
	require.Equal(t, []string{root + "/hob.toml", root + "/hob.local.toml", root + "/a.env", root + "/b.env"}, p.Files)

	root = project(t, map[string]string{ProcfileName: "web: a\n", ".env": "", LocalFileName: ""})
	p, err = Load(root)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, ProcfileName), p.File)
	require.Equal(t, service.SourceProcfile, p.Source)
	require.Equal(t, []string{root + "/Procfile", root + "/.env"}, p.Files)
	require.Equal(t, []string{"hob.local.toml: it is not read, for there is no hob.toml"}, notes(p))
}

func TestWhatDoesNotActYetIsNoted(t *testing.T) {
	p, err := Load(project(t, map[string]string{
		FileName:      web + "idle = \"1m\"\nlisten = \"h:1\"\nwatch = [\"*\"]\nalive = { tcp = \"h:1\" }\ntty = false\nauto = true\n[daemon]\nidle_exit = \"1m\"\n",
		LocalFileName: "[services.web]\nidle = \"2m\"\n",
	}))
	require.NoError(t, err)
	const later = "it is read and checked, and acts in a later version"
	require.Equal(t, []string{`hob.toml:5:1: service "web": watch: ` + later}, notes(p))
}

func notes(p *Project) []string {
	var list []string
	for _, n := range p.Notes {
		list = append(list, n.String())
	}
	return list
}

// TestEachServiceHasAnEnvironmentOfItsOwn: specs are handed on, and one must not change with another.
func TestEachServiceHasAnEnvironmentOfItsOwn(t *testing.T) {
	for _, files := range []map[string]string{
		{FileName: "services.a = { run = \"a\", env_file = \"x\" }\nservices.b = { run = \"a\", env_file = \"x\" }\n", "x": "A=1\nB=2\nC=3\n"},
		{ProcfileName: "a: a\nb: a\n", ".env": "A=1\nB=2\nC=3\n"},
	} {
		p, err := Load(project(t, files))
		require.NoError(t, err)
		p.Services[0].Set[0] = "A=changed"
		require.Equal(t, []string{"A=1", "B=2", "C=3"}, p.Services[1].Set)
	}
}
