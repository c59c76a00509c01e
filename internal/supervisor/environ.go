package supervisor

import (
	"slices"
	"strings"

	"github.com/hobworks/hob/internal/service"
)

// dropped are variables that would tell a service somebody else's story.
var dropped = []string{"PWD", "OLDPWD", "SHLVL", "_", "HOB_ID", "HOB_ROOT", "HOB_SERVICE", "NOTIFY_SOCKET",
	"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "HOB_HANDOFF"}

// environ is the environment of the client that asked, less what does not concern the service, with
// what the file sets laid over it.
func (v *svc) environ() []string { return Environ(v.st.Spec, v.sup.o.Root) }

// Environ is what a service of the project at root is started with, but for what only a run has.
func Environ(spec service.Spec, root string) []string {
	env := make([]string, 0, len(spec.Env)+len(spec.Set)+5)
	for _, kv := range spec.Env {
		name, _, ok := strings.Cut(kv, "=")
		if ok && !isDropped(name) && !sets(spec.Set, name) {
			env = append(env, kv)
		}
	}
	if spec.Color && !sets(env, "NO_COLOR") && !sets(spec.Set, "NO_COLOR") {
		for _, name := range []string{"FORCE_COLOR", "CLICOLOR_FORCE"} {
			if !sets(env, name) && !sets(spec.Set, name) {
				env = append(env, name+"=1")
			}
		}
	}
	env = append(env, spec.Set...)
	return append(env, "HOB_ROOT="+root, "HOB_SERVICE="+spec.Name)
}

func isDropped(name string) bool {
	return slices.Contains(dropped, name) || strings.HasPrefix(name, "LISTEN_") || strings.HasPrefix(name, "WATCHDOG_")
}

// sets reports whether env has a variable of that name.
func sets(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { n, _, _ := strings.Cut(kv, "="); return n == name })
}

// Drift names the variables whose values differ between the service's environment and env. The
// values are nobody's business.
func Drift(st service.Status, env []string) []string {
	if env == nil || st.Env == nil {
		return nil
	}
	have, want := variables(st.Env), variables(env)
	var names []string
	for name, value := range want {
		if old, ok := have[name]; !ok || old != value {
			names = append(names, name)
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func variables(env []string) map[string]string {
	m := map[string]string{}
	for _, kv := range env {
		name, value, ok := strings.Cut(kv, "=")
		if ok && !isDropped(name) {
			m[name] = value
		}
	}
	return m
}
