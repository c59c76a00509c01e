package config

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

var update = flag.Bool("update", false, "write the generated documents instead of comparing them")

// table is one of the types of keys.go, as the documents need it.
type table struct {
	name string // of the type
	doc  string
	keys []tableKey
}

type tableKey struct {
	name, value, def, doc string
	later                 bool
	sub                   []string // keys of the table that its value is
	typ                   reflect.Type
}

// allTables gives every table that hob.toml can have, a table before those in it.
func allTables() []table {
	comments := fieldComments()
	var all []table
	todo := []reflect.Type{reflect.TypeFor[document]()}
	for len(todo) > 0 {
		t := todo[0]
		todo = todo[1:]
		if t.Kind() == reflect.Map {
			t = t.Elem().Elem()
		}
		one := table{name: t.Name(), doc: comments[t.Name()]}
		for _, f := range reflect.VisibleFields(t) {
			key := f.Tag.Get("toml")
			if key == "" {
				continue
			}
			k := tableKey{name: key, def: f.Tag.Get("default"), doc: comments[t.Name()+"."+f.Name], later: f.Tag.Get("later") != "", typ: f.Type, value: values[f.Type.Name()].words}
			if sub := subTable(f.Type); sub != nil {
				todo = append(todo, f.Type)
				for _, f := range reflect.VisibleFields(sub) {
					if name := f.Tag.Get("toml"); name != "" && f.Type.Kind() != reflect.Map {
						k.sub = append(k.sub, name)
					}
				}
			}
			one.keys = append(one.keys, k)
		}
		all = append(all, one)
	}
	return all
}

// subTable gives the type of the keys in a value, nil when it has none of its own.
func subTable(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Map {
		t = t.Elem().Elem()
	}
	if t.Kind() != reflect.Struct || !slices.ContainsFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Tag.Get("toml") != "" }) {
		return nil
	}
	return t
}

// fieldComments gives the doc comments of keys.go by "Type" and "Type.Field".
func fieldComments() map[string]string {
	f, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, parser.ParseComments)
	if err != nil {
		panic(err)
	}
	comments := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		d, ok := n.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE {
			return true
		}
		s := d.Specs[0].(*ast.TypeSpec)
		comments[s.Name.Name] = flat(d.Doc)
		for _, field := range s.Type.(*ast.StructType).Fields.List {
			for _, name := range field.Names {
				comments[s.Name.Name+"."+name.Name] = flat(field.Doc)
			}
		}
		return false
	})
	return comments
}

func flat(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }

// values are the types of values: what the documents call them, and their schema.
var values = map[string]struct {
	words  string
	schema *jsonschema.Schema
}{
	"boolean":    {"`true` or `false`", &jsonschema.Schema{Type: "boolean"}},
	"duration":   {"duration, as `\"1m30s\"`", &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$`}},
	"size":       {"size, as `\"10MB\"`, or bytes", either(&jsonschema.Schema{Type: "string", Pattern: `^[0-9]+([KMGT]i?B|B)?$`}, integer("4096", ""))},
	"count":      {"integer, 1 or more", integer("1", "1048576")},
	"keep":       {"integer, 0 or more", integer("0", "1048576")},
	"descriptor": {"descriptor", &jsonschema.Schema{Type: "integer", AnyOf: []*jsonschema.Schema{{Minimum: "3", Maximum: "9"}, {Minimum: "11", Maximum: "255"}}}},
	"expression": {"regular expression", text()},
	"directory":  {"path", text()},
	"paths":      {"path or array of paths", either(text(), array(text()))},
	"globs":      {"array of patterns", array(text())},
	"variables": {"table of strings", &jsonschema.Schema{Type: "object", PropertyNames: &jsonschema.Schema{Pattern: "^[^=]+$"},
		AdditionalProperties: either(&jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "number"}, &jsonschema.Schema{Type: "boolean"})}},
	"command": {"string or array of strings", either(text(), &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: new(uint64(1))})},
	"needs": {"array of names or table", either(array(text()), &jsonschema.Schema{Type: "object",
		AdditionalProperties: &jsonschema.Schema{Type: "string", Enum: []any{"ready", "done"}}})},
	"restart":      {"`\"no\"`, `\"on-failure\"` or `\"always\"`", &jsonschema.Schema{Type: "string", Enum: []any{"no", "on-failure", "always"}}},
	"signal":       {"name of a signal", &jsonschema.Schema{Type: "string", Pattern: "^(SIG)?[A-Z0-9]+$"}},
	"hostPort":     {"`\"host:port\"`", text()},
	"address":      {"`\"host:port\"` or `\"unix:PATH\"`", text()},
	"url":          {"`\"http://…\"`", &jsonschema.Schema{Type: "string", Pattern: "^[hH][tT][tT][pP]://"}},
	"services":     {"table of tables", nil},
	"readyTable":   {"table", nil},
	"stopTable":    {"table", nil},
	"listenTable":  {"address or table", nil},
	"aliveTable":   {"table", nil},
	"logTable":     {"table", nil},
	"daemonTable":  {"table", nil},
	"serviceTable": {"table", nil},
}

func text() *jsonschema.Schema { return &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))} }

func array(of *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: of}
}

func either(these ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: these}
}

func integer(least, most json.Number) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Minimum: least, Maximum: most}
}

// schema generates the JSON schema of hob.toml from the types of keys.go.
func schema(t *testing.T) []byte {
	comments := fieldComments()
	later := map[string]bool{}
	for _, one := range allTables() {
		for _, k := range one.keys {
			later[one.name+"."+k.name] = k.later
		}
	}
	r := jsonschema.Reflector{
		FieldNameTag: "toml", Anonymous: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if s := values[t.Name()].schema; s != nil {
				c := *s
				return &c
			}
			return nil
		},
		LookupComment: func(t reflect.Type, field string) string {
			if field == "" {
				return ""
			}
			return comments[t.Name()+"."+field]
		},
	}
	s := r.Reflect(&document{})
	s.Title = "hob.toml"
	s.Description = "What a project says to hob about its services."
	names, ok := s.Properties.Get("services")
	require.True(t, ok)
	*names = jsonschema.Schema{Type: "object", Description: names.Description, AdditionalProperties: jsonschema.FalseSchema,
		PatternProperties: map[string]*jsonschema.Schema{"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": {Ref: "#/$defs/serviceTable"}}}
	delete(s.Definitions, "services")
	// The address alone will do.
	listen, ok := s.Definitions["serviceTable"].Properties.Get("listen")
	require.True(t, ok)
	*listen = jsonschema.Schema{Description: listen.Description, AnyOf: []*jsonschema.Schema{text(), {Ref: "#/$defs/listenTable"}}}
	for name, def := range s.Definitions {
		for p := def.Properties.Oldest(); p != nil; p = p.Next() {
			if later[name+"."+p.Key] {
				p.Value.Description += " (Checked; it acts in a later version.)"
			}
		}
	}
	out, err := json.MarshalIndent(s, "", "  ")
	require.NoError(t, err)
	return append(out, '\n')
}

// TestSchemaDocIsFresh generates docs/hob.schema.json from the types that the parser uses.
func TestSchemaDocIsFresh(t *testing.T) { fresh(t, "../../docs/hob.schema.json", schema(t)) }

func fresh(t *testing.T, path string, want []byte) {
	if *update {
		require.NoError(t, os.WriteFile(path, want, 0o644))
	}
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(have), "%s is stale: make generate", path)
}

// TestSchemaHasWhatTheParserHas: the same tables with the same keys, and nothing else is allowed in them.
func TestSchemaHasWhatTheParserHas(t *testing.T) {
	type object struct {
		Properties           map[string]json.RawMessage `json:"properties"`
		AdditionalProperties any                        `json:"additionalProperties"`
	}
	var s struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(schema(t), &s))
	seen := 0
	for _, one := range allTables() {
		o := s.Defs[one.name]
		if one.name == "document" {
			o = s.object
		}
		var want []string
		for _, k := range one.keys {
			want = append(want, k.name)
		}
		require.ElementsMatch(t, want, keysOf(o.Properties), one.name)
		require.Equal(t, false, o.AdditionalProperties, one.name)
		for name, p := range o.Properties {
			require.Contains(t, string(p), `"description"`, "%s.%s", one.name, name)
		}
		seen++
	}
	require.Equal(t, len(s.Defs)+1, seen)
}

func keysOf(m map[string]json.RawMessage) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}

// TestEveryKeyIsRead gives each key a value of a kind that no key takes: the parser must complain about each.
func TestEveryKeyIsRead(t *testing.T) {
	for _, one := range allTables() {
		for _, k := range one.keys {
			if one.name == "document" || k.typ.Kind() == reflect.Map {
				continue
			}
			where := map[string]string{"serviceTable": "services.web", "daemonTable": "daemon"}[one.name]
			if where == "" {
				where = "services.web." + strings.TrimSuffix(one.name, "Table")
			}
			_, err := Load(project(t, map[string]string{FileName: where + "." + k.name + " = 2026-01-01\n"}))
			require.ErrorContains(t, err, "not a date or time", "%s.%s", one.name, k.name)
		}
	}
}

// TestDefaultsInTheDocsAreTrue holds the tags "default" against what Load fills in.
func TestDefaultsInTheDocsAreTrue(t *testing.T) {
	p, err := Load(project(t, map[string]string{FileName: web + "ready.fd = 3\nalive.tcp = \"h:1\"\n"}))
	require.NoError(t, err)
	s := p.Services[0]
	have := map[string]string{
		"run": "required", "dir": "the root", "restart": string(s.Restart), "tty": "false", "auto": "true", "proxy": "false", "addr": "required",
		"signal": "TERM", "max": "10MB", "keep": "3", "every": "10s", "fails": "3",
	}
	require.Equal(t, service.DefaultStop, s.Stop)
	require.Equal(t, service.Log{Max: 10_000_000, Keep: 3}, s.Log)
	require.Equal(t, "10s", s.Alive.Every.String())
	require.True(t, s.Auto)
	for _, one := range allTables() {
		for _, k := range one.keys {
			want := have[k.name]
			if k.name == "timeout" {
				want = map[string]string{"readyTable": "60s", "stopTable": "5s"}[one.name]
			}
			require.Equal(t, want, k.def, "%s.%s", one.name, k.name)
		}
	}
	require.EqualValues(t, 60, s.Ready.Timeout.Seconds())
	require.EqualValues(t, 5, s.Stop.Timeout.Seconds())
	require.Equal(t, 3, s.Alive.Fails)
}
