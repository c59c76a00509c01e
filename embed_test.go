package hob_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestProgramOutsideThisModule builds the program of docs/embedding.md in a module of its own, and
// runs it: it starts itself, answers and stops. What it is linked with is little.
func TestProgramOutsideThisModule(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := firstProgram(t)
	require.LessOrEqual(t, strings.Count(source, "\n"), 40, "it is shown because it is short")
	write(t, filepath.Join(dir, "main.go"), source)
	write(t, filepath.Join(dir, "go.mod"), outsideModule(t))
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	write(t, filepath.Join(dir, "go.sum"), string(sums))

	program := filepath.Join(dir, "hello")
	goTool(t, dir, "build", "-mod=mod", "-o", program, ".")
	for _, name := range strings.Fields(goTool(t, dir, "list", "-mod=mod", "-deps", ".")) {
		for _, bad := range []string{"go-toml", "cobra", "pflag", "tint", "testify", "godotenv", "jsonschema", "creack/pty", "goleak", "/hobworks/hob/cmd/"} {
			require.NotContains(t, name, bad)
		}
		for _, bad := range []string{"net/http", "encoding/gob", "text/template", "html/template", "crypto/tls", "testing", "flag"} {
			require.NotEqual(t, bad, name)
		}
	}

	project, state := t.TempDir(), filepath.Join(t.TempDir(), "hob")
	hello := func(args ...string) string {
		out, err := command(project, append(os.Environ(), "HOB_STATE_DIR="+state), program, args...)
		require.NoError(t, err, out)
		return out
	}
	t.Cleanup(func() { hello("stop") })
	first := hello("world")
	require.Regexp(t, regexp.MustCompile(`^hello \["world"\] from pid \d+\n$`), first)
	require.Equal(t, first, hello("world"), "of the same daemon")
	require.Empty(t, strings.TrimSpace(hello("stop")))
	left, err := filepath.Glob(filepath.Join(state, "*", "hob.*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// firstProgram is what a reader of the document sees first.
func firstProgram(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("docs/embedding.md")
	require.NoError(t, err)
	_, source, ok := strings.Cut(string(text), "```go\n")
	require.True(t, ok)
	source, _, ok = strings.Cut(source, "```\n")
	require.True(t, ok)
	return source
}

// outsideModule requires what this checkout requires, in the same versions: nothing is looked up.
func outsideModule(t *testing.T) string {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	_, requires, ok := strings.Cut(string(mod), "github.com/hobworks/hob\n")
	require.True(t, ok)
	return "module example.com/hello\n" + requires +
		"\nrequire github.com/hobworks/hob v0.0.0\n\nreplace github.com/hobworks/hob => " + here + "\n"
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func goTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := command(dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOTOOLCHAIN=local"), "go", args...)
	require.NoError(t, err, out)
	return out
}

// command runs a program in dir, and kills it when it hangs.
func command(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, env
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	hung := time.AfterFunc(5*patience, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	err := cmd.Wait()
	return out.String(), err
}
