package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"
)

// TestSchemaTakesGoodFiles, and not those with a key that nobody knows.
func TestSchemaTakesGoodFiles(t *testing.T) {
	var s map[string]any
	require.NoError(t, json.Unmarshal(schema(t), &s))
	check := func(file string) string {
		var v map[string]any
		require.NoError(t, toml.Unmarshal([]byte(strings.TrimPrefix(file, "\ufeff")), &v))
		text, err := json.Marshal(v)
		require.NoError(t, err)
		var doc any
		require.NoError(t, json.Unmarshal(text, &doc))
		return violation(s, s, doc, "")
	}
	for _, c := range good {
		if file, ok := c.files[FileName]; ok {
			require.Empty(t, check(file), c.what)
		}
	}
	for _, file := range []string{"x = 1", web + "foo = 1", web + "ready.foo = 1", web + "restart = true", web + "restart = \"x\"", web + "stop.timeout = 3", web + "ready.fd = 10",
		web + "log.max = \"3 MB\"", web + "needs = { a = \"x\" }", web + "env = { A = [] }", "services.\"a b\".run = \"a\"", "services.web.run = []", web + "listen = 3", web + "ready.http = \"https://x\""} {
		require.NotEmpty(t, check(file), file)
	}
}

// violation gives where doc is not as s says, "" when it is; root has the definitions. It knows what our schema uses.
func violation(root, s map[string]any, doc any, at string) string {
	if ref, ok := s["$ref"].(string); ok {
		return violation(root, root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), doc, at)
	}
	if these, ok := s["anyOf"].([]any); ok && !slices.ContainsFunc(these, func(one any) bool { return violation(root, one.(map[string]any), doc, at) == "" }) {
		return at + ": anyOf"
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, doc) {
		return at + ": enum"
	}
	typ, _ := s["type"].(string)
	if typ == "" && s["minimum"] == nil {
		return ""
	}
	switch doc := doc.(type) {
	case string:
		pattern, _ := s["pattern"].(string)
		if typ != "string" || doc == "" && s["minLength"] != nil || !regexp.MustCompile(pattern).MatchString(doc) {
			return at + ": string"
		}
	case bool:
		if typ != "boolean" {
			return at + ": boolean"
		}
	case float64:
		least, some := s["minimum"].(float64)
		most, bound := s["maximum"].(float64)
		if typ != "" && typ != "integer" && typ != "number" || some && doc < least || bound && doc > most {
			return at + ": number"
		}
	case []any:
		if typ != "array" || len(doc) == 0 && s["minItems"] != nil {
			return at + ": array"
		}
		for i, one := range doc {
			if v := violation(root, s["items"].(map[string]any), one, fmt.Sprint(at, "/", i)); v != "" {
				return v
			}
		}
	case map[string]any:
		if typ != "object" {
			return at + ": object"
		}
		for k, one := range doc {
			sub := property(s, k)
			if sub == nil {
				return at + "/" + k + ": unknown"
			}
			if v := violation(root, sub, one, at+"/"+k); v != "" {
				return v
			}
		}
	}
	return ""
}

// property gives the schema of a key, nil when it is not allowed.
func property(s map[string]any, key string) map[string]any {
	if p, ok := s["properties"].(map[string]any); ok && p[key] != nil {
		return p[key].(map[string]any)
	}
	patterns, _ := s["patternProperties"].(map[string]any)
	for pattern, sub := range patterns {
		if regexp.MustCompile(pattern).MatchString(key) {
			return sub.(map[string]any)
		}
	}
	sub, _ := s["additionalProperties"].(map[string]any)
	return sub
}
