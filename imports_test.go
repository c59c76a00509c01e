package hob

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/hobworks/hob"

// rooms is the plan of the house: what each may import of ours. Imports go down only.
var rooms = map[string][]string{
	"": {"fault", "spawn", "probe", "instance", "lock", "ipc", "process", "upgrade", "version"},

	"cmd/client":      {"hob", "api", "service", "instance", "store", "servicelog", "version"},
	"cmd/client/hob":  {"cmd/client"},
	"cmd/daemon":      {"hob", "api", "service", "instance", "store", "config", "supervisor", "sentry", "process", "sdnotify", "upgrade", "version", "fault"},
	"cmd/daemon/hobd": {"cmd/daemon"},

	"internal/supervisor": {"service", "process", "servicelog", "readiness", "sdnotify", "sockets", "activation", "proxy", "tty", "fault"},
	"internal/readiness":  {"service", "process", "servicelog", "sdnotify", "sockets"},
	"internal/config":     {"service"},
	"internal/spawn":      {"probe", "lock", "instance", "process", "fault"},
	"internal/probe":      {"instance", "ipc", "lock", "process"},
	"internal/api":        {"ipc", "service"},
	"internal/store":      {"instance", "process", "service"},

	"internal/fault": {}, "internal/instance": {}, "internal/ipc": {"fault"}, "internal/lock": {"fault"},
	"internal/process": {"fault"}, "internal/service": {}, "internal/servicelog": {"fault"}, "internal/version": {},
	"internal/sdnotify": {}, "internal/sockets": {"process"}, "internal/activation": {"sockets"}, "internal/proxy": {}, "internal/sentry": {"process", "fault"},
	"internal/tty": {}, "internal/upgrade": {"process"},
	"e2e": {}, "e2e/chaos": {},
}

// only says which rooms alone may import a package from outside, directly.
var only = map[string][]string{
	"github.com/adrg/xdg":                      {"internal/instance"},
	"github.com/creack/pty":                    {"internal/tty"},
	"github.com/lmittmann/tint":                {"cmd/daemon", "cmd/client"},
	"github.com/spf13/cobra":                   {"cmd/client"},
	"github.com/sourcegraph/jsonrpc2":          {"internal/ipc"},
	"github.com/pelletier/go-toml/v2/unstable": {"internal/config"},
	"golang.org/x/mod/semver":                  {"internal/version"},
	"os/exec":                                  {"internal/process", "cmd/client"},
	"net/http":                                 {},
}

// TestImports holds the plan of the house against the code.
func TestImports(t *testing.T) {
	for _, p := range list(t, "./...") {
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if strings.HasPrefix(room, "examples/") || strings.HasPrefix(room, "bench") {
			continue
		}
		allowed, known := rooms[room]
		require.True(t, known, "room %s is not in the plan", room)
		for _, imp := range p.Imports {
			ours, inside := strings.CutPrefix(imp, module)
			if ours = strings.TrimPrefix(strings.TrimPrefix(ours, "/"), "internal/"); inside && ours == "" {
				ours = "hob"
			}
			if inside {
				require.Contains(t, allowed, ours, "%s may not import %s", p.ImportPath, imp)
			}
			if rooms, limited := only[imp]; limited {
				require.Contains(t, rooms, room, "%s may not import %s", p.ImportPath, imp)
			}
		}
	}
}

// TestEmbeddersPayForLittle: a program that imports hob gets no parser of files, no command
// line, no colours, no HTTP and no test library with it.
func TestEmbeddersPayForLittle(t *testing.T) {
	for _, p := range list(t, "-deps", module) {
		for _, bad := range []string{"toml", "cobra", "pflag", "tint", "testify", "godotenv", "jsonschema", "creack", "net/http", "text/template",
			"encoding/gob", "crypto/tls", "os/exec/internal"} {
			require.NotContains(t, p.ImportPath, bad)
		}
	}
}

// TestTheClientPaysForLittle: a program is one image, so what one verb of hob links, ping and connect pay for. The budget of the client is therefore one
// of all of it: no HTTP, no TLS, no gob, no templates, and no parser of files, which hobd reads for it.
func TestTheClientPaysForLittle(t *testing.T) {
	templates := []string{}
	for _, p := range list(t, "-deps", "./cmd/client/hob") {
		for _, bad := range []string{"net/http", "crypto/tls", "crypto/x509", "encoding/gob", "html/", "expvar", "net/rpc", "net/textproto", "go/", "database/",
			"toml", "yaml", "godotenv", "jsonschema", "creack/pty", "tint", "testify", "internal/config", "internal/supervisor"} {
			inTree := strings.HasPrefix(p.ImportPath, bad) || strings.Contains(p.ImportPath, bad) && !strings.HasSuffix(bad, "/")
			require.False(t, inTree, "hob links %s", p.ImportPath)
		}
		if slices.Contains(p.Imports, "text/template") {
			templates = append(templates, p.ImportPath)
		}
	}
	// Cobra imports it, for templates of help that nobody sets; what the linker leaves of it is next.
	require.Equal(t, []string{"github.com/spf13/cobra"}, templates)
}

// TestTemplatesAreNotLinked: see docs/adr/0020. The linker drops the parser and the executor of text/template as long as nobody calls what sets a template
// of cobra, and no method is looked up by its name, which would keep every exported method of the program.
func TestTemplatesAreNotLinked(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "hob")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/client/hob")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	symbols, err := exec.Command("go", "tool", "nm", program).Output()
	require.NoError(t, err)
	require.Contains(t, string(symbols), " github.com/spf13/cobra.(*Command).")
	for _, bad := range []string{" text/template.(*", " text/template/parse.(*", " reflect.Value.MethodByName", " reflect.(*rtype).MethodByName"} {
		require.NotContains(t, string(symbols), bad)
	}
}

// TestProgramsNeedNoC: Go would use C for net when a compiler is installed, at a cost of two
// thirds of the start-up. The tests build the programs that way, and so does make.
func TestProgramsNeedNoC(t *testing.T) {
	out, err := exec.Command("make", "-n", "build").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, 2, strings.Count(string(out), "CGO_ENABLED=0"), string(out))
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T, args ...string) []pkg {
	cmd := exec.Command("go", slices.Concat([]string{"list", "-json=ImportPath,Imports"}, args)...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		require.NoError(t, dec.Decode(&p))
		all = append(all, p)
	}
	require.NotEmpty(t, all)
	return all
}
