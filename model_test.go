package hob

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modelDir = "docs/model"

// modelled are the packages whose functions the models name.
var modelled = []string{".", "internal/*", "cmd/daemon", "cmd/client"}

var (
	anchor   = regexp.MustCompile(`/\*@(.*?)\*/`)
	funcName = regexp.MustCompile(`^ [a-z]+(\.[A-Za-z]+){1,2} $`) // package.Func, package.Type.Method
)

// TestModelNamesWhatIsThere: each transition of docs/model names the function that does it, so one that is renamed or removed has
// somebody look at the model, too.
func TestModelNamesWhatIsThere(t *testing.T) {
	there := functions(t)
	for _, file := range models(t) {
		found := anchor.FindAllStringSubmatch(read(t, file), -1)
		require.NotEmpty(t, found, "%s names no function", file)
		for _, m := range found {
			require.Regexp(t, funcName, m[1], "%s: in %s", file, m[0])
			require.Contains(t, there, strings.TrimSpace(m[1]), "%s: there is no such function", file)
		}
	}
}

// TestModelRunsWhatIsThere: a line of docs/model/runs that names what no model has would verify something else than it says, and a wrong
// design that no line has would never be seen to be wrong.
func TestModelRunsWhatIsThere(t *testing.T) {
	runs, text := read(t, filepath.Join(modelDir, "runs")), map[string]string{}
	for _, file := range models(t) {
		text[strings.TrimSuffix(filepath.Base(file), ".pml")] = read(t, file)
	}
	names, readme := map[string]bool{}, read(t, filepath.Join(modelDir, "README.md"))
	for line := range strings.Lines(runs) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		require.GreaterOrEqual(t, len(f), 5, line)
		require.Contains(t, []string{"short", "full"}, f[0], line)
		require.Contains(t, text, f[1], line)
		if f[2] != "safety" {
			require.Contains(t, text[f[1]], "ltl "+f[2]+" {", line)
		}
		require.False(t, names[f[4]], "two runs of one name: %s", line)
		names[f[4]] = true
		require.Contains(t, readme, "| "+f[4]+" |", "README.md has no result of that run")
		for _, define := range f[5:] {
			name, _, _ := strings.Cut(strings.TrimPrefix(define, "-D"), "=")
			require.Regexp(t, `\b`+name+`\b`, text[f[1]], line)
		}
	}
	for model, body := range text {
		for _, bad := range regexp.MustCompile(`\bBAD_[A-Z_]+`).FindAllString(body, -1) {
			require.Regexp(t, `-D`+bad+`\b`, runs, "nobody runs that wrong design of %s", model)
		}
	}
}

func models(t *testing.T) []string {
	files, err := filepath.Glob(filepath.Join(modelDir, "*.pml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func read(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// functions are those of the modelled packages, for every system.
func functions(t *testing.T) map[string]bool {
	all := map[string]bool{}
	for _, pattern := range modelled {
		files, err := filepath.Glob(filepath.Join(pattern, "*.go"))
		require.NoError(t, err)
		files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					all[f.Name.Name+"."+receiverDot(fn)+fn.Name.Name] = true
				}
			}
		}
	}
	return all
}

// receiverDot is the type with a dot, or nothing.
func receiverDot(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	if p, ok := typ.(*ast.StarExpr); ok {
		typ = p.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}
