package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"
)

func treeOf(text string) (*node, error) {
	f := &source{name: FileName}
	f.fill([]byte(text))
	return tree(f)
}

// tomls are documents about who may define what; the comment of the TOML specification decides.
var tomls = []string{
	"", "a=1", "a=1\na=2", "a.b=1\na.c=2", "a.b=1\na.b=2", "a.b=1\na=2", "a=1\na.b=2", "a.b=1\n[a]\nc=1", "[a]\nb.c=1\n[a.b]\n", "[a]\nb.c=1\n[a.b.d]\n",
	"[a.b.c]\nz=9\n[a]\nb.c.t=1", "[a.b.c]\nz=9\n[a]\nb.t=1", "[a.b.c.d]\nz=9\n[a]\nb.c.d.k.t=8", "[a.b]\n[a]\nb=1", "[a]\n[a.b]\n[a]", "[a.b]\n[a]\nc=1", "[a.b]\n[a]\n[a]",
	"a={b=1}\na.c=2", "a={b=1}\n[a]", "a={b=1}\n[a.c]", "a={b=1,b=2}", "a={b.c=1,b.d=2}", "a={b.c=1,b=2}", "a={b={c=1},b.d=2}", "a={b=[{c=1},{c=2}]}",
	"[[a]]\nb=1\n[[a]]\nb=2", "[[a]]\n[a]", "[a]\n[[a]]", "a=[]\n[[a]]", "a=[{}]\n[[a]]", "a=[{}]\n[a.b]", "[[a]]\n[a.b]\n[[a]]\n[a.b]", "[[a]]\n[a.b]\n[a.b]", "[[a.b]]\n[a]\nc=1", "[[a.b]]\n[a.b.c]\n[[a.b.c]]",
	"[a]\nb=1\n[a.b]", "a.b.c=1\n[a]", "a.b.c=1\n[a.b]", "a.b.c=1\n[a.d]", "a.b.c=1\n[a.b.d]", "[a]\nb={}\n[a.b.c]", "\"a.b\"=1\na.b=2", "'a'=1\n\"a\"=2", "\"\"=1\n[a.\"\"]", "a=03", "a=+03", "a=03.1", "a=0x_1",
	"a=9223372036854775807", "a=9223372036854775808", "a=-9223372036854775808", "a=0xffffffffffffffff", "a=1e999", "a=inf", "a=-nan", "a=1_0.5_0e1_0", "a=1979-05-27", "a=1979-05-27T07:32:00Z", "a=07:32:00", "a = [1, [2, 3], 'x', {y=1}]",
	"a={b=1,\n c=2,}", "[a]#x\r\nb=1#y\r\n", "a=\"\"\"\nx\\\n  y\"\"\"", "a='''\nx'''", "a=\"\\u00e9\\U0001F600\\e\\x41\"", "a.\"b c\".d=1", "[ a . b ]\nc=1", "a = true\nb = false",
	"[a]\n[a.b]\nx=1\n[c]\n[a.d]\n", "b.a=1\n[b]", "[x]\n[y]\n[x.z]\n[x.z]",
}

// agree holds the tree against what the library's decoder makes of a document.
func agree(t *testing.T, text string) {
	var want map[string]any
	wantErr := toml.Unmarshal([]byte(text), &want)
	n, err := treeOf(text)
	switch {
	case err != nil && (strings.Contains(err.Error(), "more than 32")):
	case err != nil:
		require.Error(t, wantErr, "%q: only the tree refuses it: %v", text, err)
	case wantErr != nil:
		// Nothing takes a date, so nobody looks whether the calendar has it.
		if !hasDate(n) {
			require.NoError(t, wantErr, "%q: only the library refuses it", text)
		}
	default:
		require.Equal(t, shape(want), nodeShape(n), "%q", text)
	}
}

func hasDate(n *node) bool {
	for _, one := range n.list {
		if hasDate(one) {
			return true
		}
	}
	for _, one := range n.kids {
		if hasDate(one) {
			return true
		}
	}
	return n.kind == dateKind
}

// shape is a value in a form in which both can be compared.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, one := range v {
			m[k] = shape(one)
		}
		return m
	case []any:
		list := []any{}
		for _, one := range v {
			list = append(list, shape(one))
		}
		return list
	case string:
		return "string " + v
	case int64:
		return fmt.Sprint("integer ", v)
	case bool:
		return fmt.Sprint("boolean ", v)
	case float64:
		return "float"
	}
	return "date"
}

func nodeShape(n *node) any {
	switch n.kind {
	case tableKind:
		m := map[string]any{}
		for _, k := range n.names {
			m[k] = nodeShape(n.kids[k])
		}
		return m
	case arrayKind:
		list := []any{}
		for _, one := range n.list {
			list = append(list, nodeShape(one))
		}
		return list
	case stringKind:
		return "string " + n.text
	case integerKind:
		i, _ := n.integer()
		return fmt.Sprint("integer ", i)
	case boolKind:
		return "boolean " + n.text
	case floatKind:
		return "float"
	}
	return "date"
}

func TestTreeAgreesWithTOML(t *testing.T) {
	for _, text := range tomls {
		agree(t, text)
	}
	for _, c := range bad {
		if invalidUTF8([]byte(c.file)) < 0 {
			agree(t, c.file)
		}
	}
	for _, c := range good {
		agree(t, strings.TrimPrefix(c.files[FileName], "\ufeff"))
	}
}

func FuzzTreeAgreesWithTOML(f *testing.F) {
	for _, text := range tomls {
		f.Add(text)
	}
	for _, c := range bad {
		f.Add(c.file)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || invalidUTF8([]byte(text)) >= 0 || strings.HasPrefix(text, "\ufeff") {
			return
		}
		agree(t, text)
	})
}

// TestEveryValueHasItsPlace, also the kinds for which the parser has none.
func TestEveryValueHasItsPlace(t *testing.T) {
	n, err := treeOf("# x\n[a]\n  \"b\\u0063\"  =  [ 1,\n  'x', [2], {d = [3]} ]\n\ta.b = \"\"\"\nx\"\"\"\n")
	require.NoError(t, err)
	where := func(p place) string { return fmt.Sprintf("%d:%d", p.line, p.column) }
	a := n.kid("a")
	list := a.kid("bc")
	require.Equal(t, []string{"2:2", "3:3", "3:17", "3:19", "4:3", "4:14", "4:18"}, []string{where(a.at), where(list.key), where(list.at),
		where(list.list[0].at), where(list.list[1].at), where(list.list[3].kid("d").key), where(list.list[3].kid("d").at)})
	require.Equal(t, []string{"5:2", "5:4", "5:8"}, []string{where(a.kid("a").key), where(a.kid("a").kid("b").key), where(a.kid("a").kid("b").at)})
}
