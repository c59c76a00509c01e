package servicelog

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJoiner(t *testing.T) {
	var j Joiner
	long := strings.Repeat("0123456789abcdef", maxLine/16)
	for _, c := range []struct{ text, want string }{
		{"a\n", "a"},
		{"b", "b"}, {"c", "bc"}, {"d\n", "bcd"},
		{"e\n", "e"},
		{"f", "f"}, {"\n", "f"},
		{"\n", ""},
		{"g", "g"}, {long, "g" + long}, {long, "g" + long + long}, {long, "g" + long + long + long},
		{long, long + long + long + long}, {"h\n", long[1:] + long + long + long + "h"},
		{"i\n", "i"},
	} {
		text, whole := strings.CutSuffix(c.text, "\n")
		require.Equal(t, c.want, string(j.Add(Line{Text: []byte(text), Partial: !whole})))
	}
}
