package hob

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxExports is how many names a reader of the package has to learn. More is a new decision.
const maxExports = 15

// TestExportsAreFew, and every one of them, with every exported field and method, says what it is.
func TestExportsAreFew(t *testing.T) {
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	var names, silent []string
	see := func(name string, docs ...*ast.CommentGroup) {
		if !slices.ContainsFunc(docs, func(c *ast.CommentGroup) bool { return c.Text() != "" }) {
			silent = append(silent, name)
		}
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.ParseComments)
		require.NoError(t, err)
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Recv == nil {
					names = append(names, d.Name.Name)
				}
				if d.Name.IsExported() && d.Name.Name != "Error" && receiver(d) != "" {
					see(d.Name.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					names = append(names, exported(s)...)
					if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
						see(s.Name.Name, d.Doc, s.Doc)
						options(s, see)
					}
				}
			}
		}
	}
	require.Empty(t, silent, "without a comment")
	slices.Sort(names)
	require.LessOrEqual(t, len(names), maxExports, "%v", names)
	for _, name := range []string{"Instance", "Dial", "DialConn", "Client", "Serve", "Handler", "Error"} {
		require.Contains(t, names, name)
	}
}

// receiver is the exported type that a method belongs to; "func" for a function, "" for neither.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return "func"
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if id, ok := typ.(*ast.Ident); ok && id.IsExported() {
		return id.Name
	}
	return ""
}

func exported(s ast.Spec) (names []string) {
	var ids []*ast.Ident
	switch s := s.(type) {
	case *ast.TypeSpec:
		ids = []*ast.Ident{s.Name}
	case *ast.ValueSpec:
		ids = s.Names
	}
	for _, id := range ids {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	return names
}

// options looks at the fields of what a caller fills in. A comment can be for several in a row, then
// without a blank line between them, as gofmt leaves them.
func options(s *ast.TypeSpec, see func(string, ...*ast.CommentGroup)) {
	st, ok := s.Type.(*ast.StructType)
	if !ok || s.Name.Name != "DialOptions" && s.Name.Name != "ServeOptions" && s.Name.Name != "Instance" {
		return
	}
	for _, f := range st.Fields.List {
		see(s.Name.Name+"."+f.Names[0].Name, f.Doc, f.Comment)
	}
}
