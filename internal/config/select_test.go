package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// graph makes a project of "web: db cache" lines; a "-" in front: not auto.
func graph(t *testing.T, lines ...string) *Project {
	var b strings.Builder
	for _, line := range lines {
		name, needs, _ := strings.Cut(line, ":")
		name, manual := strings.CutPrefix(name, "-")
		list, _ := json.Marshal(strings.Fields(needs))
		b.WriteString("[services." + name + "]\nrun = \"a\"\nneeds = " + strings.Replace(string(list), "null", "[]", 1) + "\n")
		if manual {
			b.WriteString("auto = false\n")
		}
	}
	p, err := Load(project(t, map[string]string{FileName: b.String()}))
	require.NoError(t, err)
	return p
}

func names(list []Service) string {
	var all []string
	for _, s := range list {
		all = append(all, s.Name)
	}
	return strings.Join(all, " ")
}

func TestNeedsComeFirstAndElseTheFileDecides(t *testing.T) {
	p := graph(t, "web: api db", "-tool: db", "api: cache db", "db:", "cache: db", "mail:", "-extra:")
	for want, ask := range map[string]string{
		"db cache api web mail": "",
		"db":                    "db",
		"db cache api web":      "web",
		"db tool":               "tool",
		"mail":                  "mail mail",
		"db cache api mail":     "mail api",
		"extra":                 "extra",
	} {
		list, err := p.Select(strings.Fields(ask))
		require.NoError(t, err)
		require.Equal(t, want, names(list), "asked for %q", ask)
	}
}

func TestUnknownServiceIsNamedWithTheOneThatWasMeant(t *testing.T) {
	p := graph(t, "web:", "api:")
	_, err := p.Select([]string{"api", "wbe"})
	var unknown *UnknownServiceError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, "wbe", unknown.Name)
	require.EqualError(t, err, `no service "wbe" in hob.toml (did you mean "web"?)`)
	_, err = p.Select([]string{"\x1b]0;" + strings.Repeat("x", 1000)})
	require.EqualError(t, err, `no service "\x1b]0;`+strings.Repeat("x", 76)+`…" in hob.toml`)
	_, err = graphless(t).Select([]string{"x"})
	require.EqualError(t, err, `no service "x" in Procfile`)
	s, err := p.Service("api")
	require.NoError(t, err)
	require.Equal(t, "api", s.Name)
}

func graphless(t *testing.T) *Project {
	p, err := Load(project(t, map[string]string{ProcfileName: "web: a\n"}))
	require.NoError(t, err)
	return p
}

func TestOrderedHasAllServices(t *testing.T) {
	p := graph(t, "web: api db", "-tool: db", "api: cache db", "db:", "cache: db", "-extra:")
	require.Equal(t, "db cache api web tool extra", names(p.Ordered()))
}
