package config

import "fmt"

// UnknownServiceError says that a project has no service of a name.
type UnknownServiceError struct {
	Name  string
	File  string // hob.toml or Procfile
	Meant string // the name that is near, or ""
}

func (e *UnknownServiceError) Error() string {
	return fmt.Sprintf("no service %s in %s%s", quoted(e.Name), e.File, didYouMean(e.Meant))
}

// Service gives the one of a name, or *UnknownServiceError.
func (p *Project) Service(name string) (Service, error) {
	names := make([]string, len(p.Services))
	for i, s := range p.Services {
		if s.Name == name {
			return s, nil
		}
		names[i] = s.Name
	}
	return Service{}, &UnknownServiceError{Name: name, File: string(p.Source), Meant: nearest(name, names)}
}

// Select gives the named services and everything that they need, each once, after what it needs and else in the
// order of the file. Without names: those that are part of a bare hob up, and what they need. An unknown name is
// *UnknownServiceError.
func (p *Project) Select(names []string) ([]Service, error) {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		if _, err := p.Service(name); err != nil {
			return nil, err
		}
		wanted[name] = true
	}
	return p.order(func(s Service) bool {
		if len(names) == 0 {
			return s.Auto
		}
		return wanted[s.Name]
	}), nil
}

// Ordered gives all services, each after what it needs and else in the order of the file.
func (p *Project) Ordered() []Service { return p.order(func(Service) bool { return true }) }

// order gives the services that are wanted and what they need, in the order in which they can be started.
func (p *Project) order(wanted func(Service) bool) []Service {
	at := make(map[string]int, len(p.Services))
	for i, s := range p.Services {
		at[s.Name] = i
	}
	out := make([]Service, 0, len(p.Services))
	taken := make([]bool, len(p.Services))
	var take func(i int)
	take = func(i int) {
		if taken[i] {
			return
		}
		taken[i] = true
		for _, n := range p.Services[i].Needs {
			if j, ok := at[n.Name]; ok {
				take(j)
			}
		}
		out = append(out, p.Services[i])
	}
	for i, s := range p.Services {
		if wanted(s) {
			take(i)
		}
	}
	return out
}
