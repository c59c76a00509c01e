package client

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzMeta: what a daemon wrote of itself is the same when it is written and read once more, and can be shown on one line.
func FuzzMeta(f *testing.F) {
	for _, s := range []string{
		`{"project":"/home/u/shop","name":"","id":"0123456789abcdef","root":{"path":"/home/u/shop","dev":1,"ino":2},"pid":42,"build":"v1","protocol":1,"started_at":"2026-01-02T03:04:05Z"}`,
		`{}`, `null`, `[]`, `{"project":"/a\nb\u001b[2J","id":"x"}`, `{"pid":-1}`, `{"started_at":"x"}`, `{"project":5}`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMeta(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(m)
		require.NoError(t, err)
		back, err := decodeMeta(again)
		require.NoError(t, err)
		require.Equal(t, m, back)
		for _, text := range []string{m.Project, m.Name, m.ID, m.Build} {
			shown := oneLine(text)
			checkHarmless(t, sanitizer{terminal: true}, []byte(shown))
			require.False(t, strings.Contains(shown, "\n"))
		}
	})
}
