package hob

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testName is a test as documents name it.
var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestDocsNameTests: every test that a document names is there.
func TestDocsNameTests(t *testing.T) {
	docs, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	tests := testFunctions(t)
	named := 0
	for _, path := range append(docs, "README.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
			named++
			require.Contains(t, tests, m[1], "%s: there is no such test", path)
		}
	}
	require.Greater(t, named, 100)
}

// TestSecurityDocNamesTests: docs/security.md has all 24 claims, each with a test; what it calls a control has a subtest of that name.
func TestSecurityDocNamesTests(t *testing.T) {
	text, err := os.ReadFile("docs/security.md")
	require.NoError(t, err)
	tests := testFunctions(t)
	claims := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| S") {
			continue
		}
		claims++
		cells := strings.Split(line, " | ")
		require.Len(t, cells, 4, line)
		require.Equal(t, fmt.Sprintf("| S%d", claims), cells[0])
		require.NotEmpty(t, testName.FindString(cells[2]), "%s names no test", cells[0])
		controls := testName.FindAllStringSubmatch(cells[3], -1)
		require.NotEmpty(t, controls, "%s names no control", cells[0])
		for _, m := range controls {
			require.True(t, tests[m[1]], "%s has no subtest \"control\"", m[1])
			require.Contains(t, cells[2], m[0], "%s: a control of another test", cells[0])
		}
	}
	require.Equal(t, 24, claims)
}

// testFunctions are all tests of the repository, and whether they have a subtest "control".
func testFunctions(t *testing.T) map[string]bool {
	all := map[string]bool{}
	set := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (path == "bin" || path == ".git" || e.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				all[f.Name.Name] = all[f.Name.Name] || hasControl(f)
			}
		}
		return nil
	}))
	return all
}

// hasControl looks for t.Run("control", …).
func hasControl(f *ast.FuncDecl) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		run, ok := call.Fun.(*ast.SelectorExpr)
		what, isText := call.Args[0].(*ast.BasicLit)
		found = found || ok && isText && run.Sel.Name == "Run" && what.Value == `"control"`
		return true
	})
	return found
}

// TestVulnerabilitiesFailTheCheck: a finding does, and so does a tool that does not work. Only a database that can't be reached does not, and then it is
// said aloud.
func TestVulnerabilitiesFailTheCheck(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		ok     bool
	}{
		"nothing found":      {"echo No vulnerabilities found.", true},
		"a finding":          {"echo 'Vulnerability #1: GO-2099-0001'; exit 3", false},
		"no network":         {"echo 'govulncheck: fetching vulnerabilities: dial tcp: no such host' >&2; exit 1", true},
		"a build that fails": {"echo 'loading packages: there are errors' >&2; exit 1", false},
		"no tool":            {"exit 127", false},
		"finding, and noise": {"echo 'fetching vulnerabilities: x'; exit 3", false},
	} {
		tool := filepath.Join(t.TempDir(), "tool")
		require.NoError(t, os.WriteFile(tool, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755))
		out, err := exec.Command("sh", "scripts/vuln.sh", tool, "./...").CombinedOutput()
		require.Equal(t, c.ok, err == nil, "%s: %s", name, out)
		require.Equal(t, name == "no network", strings.Contains(string(out), "NOT CHECKED"), "%s: %s", name, out)
	}
}

// TestFuzzingFailsOnFindings: whatever go says of one that has an input, or of anything else but the end of its time.
func TestFuzzingFailsOnFindings(t *testing.T) {
	script, err := filepath.Abs("scripts/fuzz.sh")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		said string
		code int
		ok   bool
	}{
		"nothing found":       {"PASS", 0, true},
		"the end of its time": {"--- FAIL: FuzzX (5.18s)\n    context deadline exceeded\nFAIL", 1, true},
		"a finding":           {"--- FAIL: FuzzX\n    Failing input written to testdata/fuzz/FuzzX/1\n    context deadline exceeded", 1, false},
		"a panic":             {"panic: no", 2, false},
		"a build that fails":  {"FAIL x [build failed]", 1, false},
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "x_test.go"), []byte("func FuzzX(f *testing.F) {}\nfunc FuzzY(f *testing.F) {}\n"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\ncat <<'X'\n"+c.said+"\nX\nexit "+fmt.Sprint(c.code)+"\n"), 0o755))
		cmd := exec.Command("sh", script, "7x")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		require.Equal(t, c.ok, err == nil, "%s: %s", name, out)
		require.Contains(t, string(out), "fuzz FuzzX in . for 7x")
		require.Equal(t, c.ok, strings.Contains(string(out), "FuzzY"), "%s: %s", name, out)
	}
}
