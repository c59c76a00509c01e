package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer is a tool that does a part of hob's job.
type peer struct {
	name     string
	programs []string // that have to be there
	get      string   // how to get them
	version  []string
	rig      func(r *rig) // nil: it is only named
}

// peers are those that are compared, where they are installed.
var peers = []peer{
	{name: "tmux", programs: []string{"tmux"}, get: "apt-get install tmux", version: []string{"tmux", "-V"}, rig: tmux},
	{name: "watchman", programs: []string{"watchman"}, get: "apt-get install watchman", version: []string{"watchman", "--version"}, rig: watchman},
	{name: "supervisord", programs: []string{"supervisord", "supervisorctl"}, get: "apt-get install supervisor",
		version: []string{"supervisord", "--version"}, rig: supervisord},
	{name: "runit", programs: []string{"runsvdir", "runsv", "sv", "svlogd"}, get: "apt-get install runit",
		version: []string{"dpkg-query", "-W", "-f=${Version}", "runit"}, rig: runit},
	{name: "s6", programs: []string{"s6-svscan", "s6-supervise", "s6-svstat", "s6-log"}, get: "apt-get install s6",
		version: []string{"dpkg-query", "-W", "-f=${Version}", "s6"}, rig: s6},
	{name: "pm2", programs: []string{"pm2"}, get: "npm install -g pm2", rig: pm2}, // pm2 --version starts a daemon
	{name: "process-compose", programs: []string{"process-compose"}, get: "https://f1bonacc1.github.io/process-compose"},
	{name: "pitchfork", programs: []string{"pitchfork"}, get: "https://github.com/jdx/pitchfork"},
	{name: "overmind", programs: []string{"overmind"}, get: "https://github.com/DarthSim/overmind"},
}

// absent is why it is not measured, or "".
func (p peer) absent() string {
	for _, name := range p.programs {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Sprintf("there is no %s (%s)", name, p.get)
		}
	}
	if p.rig == nil {
		return "nobody has said yet how"
	}
	return ""
}

// newRig sets a peer up in a directory.
func (p peer) newRig(dir, bin string) (*rig, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r := &rig{name: p.name, dir: dir, bin: bin}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); name != "TMUX" && name != rigMark && !strings.HasPrefix(name, "PM2_") && !strings.HasPrefix(name, "XDG_") {
			r.env = append(r.env, kv)
		}
	}
	r.env = append(r.env, rigMark+"="+dir)
	p.rig(r)
	return r, nil
}

func hobItself(r *rig) {
	hob := filepath.Join(r.bin, "hob")
	r.env = append(r.env, "HOB_STATE_DIR="+r.path("state"), "HOB_DAEMON="+filepath.Join(r.bin, "hobd"))
	r.daemon = "hobd"
	r.ask, r.cold, r.down = []string{hob, "daemon", "ping"}, []string{hob, "daemon", "start"}, []string{hob, "down"}
	r.apply = []string{hob, "up", "--no-wait"}
	r.write = func(r *rig, argv func(i int) []string) error {
		var b strings.Builder
		for i := range crowd {
			fmt.Fprintf(&b, "[services.%s]\nrun = [\"%s\"]\n", serviceName(i), strings.Join(argv(i), `", "`))
		}
		return os.WriteFile(r.path("hob.toml"), []byte(b.String()), 0o600)
	}
}

func tmux(r *rig) {
	tmux := []string{"tmux", "-S", r.path("socket"), "-f", "/dev/null"}
	r.daemon = "tmux: server"
	r.ask = append(tmux[:len(tmux):len(tmux)], "has-session")
	r.cold = append(tmux[:len(tmux):len(tmux)], "new-session", "-d", "sleep 1000")
	r.down = append(tmux[:len(tmux):len(tmux)], "kill-server")
}

func watchman(r *rig) {
	watchman := []string{"watchman", "--sockname=" + r.path("socket"), "--logfile=" + r.path("log"), "--statefile=" + r.path("state"), "--pidfile=" + r.path("pid")}
	r.daemon = "watchman"
	r.ask = append(watchman[:len(watchman):len(watchman)], "--no-spawn", "get-sockname")
	r.cold = append(watchman[:len(watchman):len(watchman)], "get-sockname")
	r.down = append(watchman[:len(watchman):len(watchman)], "--no-spawn", "shutdown-server")
}

func supervisord(r *rig) {
	r.daemon = "supervisord"
	r.serve = []string{"supervisord", "-n", "-c", r.path("conf")}
	r.waits = "starts once a second what is to be started"
	r.ask = []string{"supervisorctl", "-c", r.path("conf"), "pid"}
	r.down = []string{"supervisorctl", "-c", r.path("conf"), "shutdown"}
	head := fmt.Sprintf("[unix_http_server]\nfile=%[1]s/socket\n[supervisord]\nlogfile=%[1]s/log\npidfile=%[1]s/pid\nchildlogdir=%[1]s\n"+
		"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\nserverurl=unix://%[1]s/socket\n", r.dir)
	r.write = func(r *rig, argv func(i int) []string) error {
		b := head
		for i := range crowd {
			b += fmt.Sprintf("[program:%s]\ncommand=%s\nautorestart=true\nstartsecs=0\n", serviceName(i), strings.Join(argv(i), " "))
		}
		return os.WriteFile(r.path("conf"), []byte(b), 0o600)
	}
	_ = os.WriteFile(r.path("conf"), []byte(head), 0o600)
}

// scripts writes a directory with a script named run for each service, as runit and s6 have them, and at least one.
func (r *rig) scripts(argv func(i int) []string) error {
	for i := range crowd {
		dir := r.path("services", serviceName(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\nexec "+strings.Join(argv(i), " ")+"\n"), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func runit(r *rig) {
	r.daemon = "runsv" // and runsvdir
	r.serve = []string{"runsvdir", r.path("services")}
	r.waits = "would wait for a second if the service had run for less: runsv(8)"
	r.ask = []string{"sv", "status", r.path("services", serviceName(0))}
	r.write = (*rig).scripts
}

func s6(r *rig) {
	r.daemon = "s6-s" // s6-svscan and s6-supervise
	r.serve = []string{"s6-svscan", r.path("services")}
	r.waits = "lets a second pass between the end of a service and its next start"
	r.ask = []string{"s6-svstat", r.path("services", serviceName(0))}
	r.write = (*rig).scripts
}

func pm2(r *rig) {
	r.env = append(r.env, "PM2_HOME="+r.path("pm2"))
	r.daemon = "PM2"
	r.ask, r.cold, r.down = []string{"pm2", "ping"}, []string{"pm2", "ping"}, []string{"pm2", "kill"}
	r.apply = []string{"pm2", "start", r.path("services.json")}
	r.write = func(r *rig, argv func(i int) []string) error {
		var all []string
		for i := range crowd {
			words := argv(i)
			all = append(all, fmt.Sprintf(`{"name": %q, "script": %q, "args": ["%s"], "interpreter": "none"}`, serviceName(i), words[0], strings.Join(words[1:], `", "`)))
		}
		return os.WriteFile(r.path("services.json"), []byte(`{"apps": [`+strings.Join(all, ", ")+`]}`), 0o600)
	}
}
