package config

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// dotenvName is the file beside a Procfile that everybody reads with it.
const dotenvName = ".env"

// procLine is a process of a Procfile.
type procLine struct {
	name    string
	command string
	at      place
}

// procLines takes a Procfile apart: NAME: COMMAND, comments and empty lines.
func (l *loader) procLines(f *source) []procLine {
	if !f.read() {
		return nil
	}
	d := &decoding{problems: &l.problems}
	var list []procLine
	first := map[string]int{}
	number := 0
	for raw := range bytes.Lines(f.data) {
		number++
		text := string(bytes.TrimRight(raw, "\r\n"))
		trimmed := strings.TrimLeft(text, " \t")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		at := place{f, number, len(text) - len(trimmed) + 1}
		name, command, ok := strings.Cut(trimmed, ":")
		command = strings.TrimSpace(command)
		switch {
		case !ok:
			d.add(at, "", fmt.Sprintf("expected NAME: COMMAND, not %s", quoted(trimmed)))
		case strings.IndexByte(trimmed, 0) >= 0:
			at.column += strings.IndexByte(trimmed, 0)
			d.add(at, "", "a NUL byte, which no program can be given")
		case !checkName(d, at, strings.TrimRight(name, " \t")):
		case command == "":
			d.add(at, "", fmt.Sprintf("service %q: no command", name))
		default:
			name = strings.TrimRight(name, " \t")
			if line, twice := first[name]; twice {
				d.add(at, "", fmt.Sprintf("service %q is already defined in line %d", name, line))
				continue
			}
			if len(list) == maxServices {
				d.add(at, "", fmt.Sprintf("more than %d services", maxServices))
				return nil
			}
			first[name] = number
			list = append(list, procLine{name, command, at})
		}
	}
	return list
}

// procfile makes services of a Procfile.
func (l *loader) procfile(f *source) {
	lines := l.procLines(f)
	env := l.dotenv()
	port := !setsPort(env)
	for _, p := range lines {
		cmd, _ := shellCommand(p.command)
		l.project.Services = append(l.project.Services, Service{
			Spec: service.Spec{
				Name: p.name, Cmd: cmd, Dir: l.root, Set: slices.Clone(env), Source: service.SourceProcfile,
				Stop: service.DefaultStop, Restart: service.RestartNo, Log: service.DefaultLog,
			},
			Auto: true, Port: port,
		})
	}
}

func setsPort(env []string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "PORT=") })
}

// dotenv reads .env when there is one. A directory of that name is somebody's Python.
func (l *loader) dotenv() []string {
	if fi, err := os.Stat(l.below(dotenvName)); err != nil || fi.IsDir() {
		return nil
	}
	f := l.env(dotenvName)
	if f.source.read() {
		return lay(slices.Clone(f.vars))
	}
	return nil
}
