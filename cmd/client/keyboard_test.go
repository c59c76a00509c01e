package client

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// scanAll gives what is passed on of parts that are read one after the other.
func scanAll(parts ...[]byte) (pass []byte, detach bool) {
	var d detacher
	for _, p := range parts {
		some, detach := d.scan(p)
		if pass = append(pass, some...); detach {
			return pass, true
		}
	}
	return pass, false
}

func TestTwoKeysInARowDetach(t *testing.T) {
	for _, c := range []struct {
		pass   string
		detach bool
		parts  []string
	}{
		{"", false, nil},
		{"abc", false, []string{"a", "bc"}},
		{"abc", true, []string{"abc\x1c\x1cdef"}},
		{"abc", true, []string{"abc\x1c", "\x1cdef", "ghi"}},
		{"abc", true, []string{"abc", "\x1c", "", "\x1c"}},
		{"a\x1cb", false, []string{"a\x1cb"}},
		{"a\x1cb", false, []string{"a\x1c", "b"}},
		{"a", false, []string{"a\x1c"}},
		{"a\x1cb", true, []string{"a\x1c", "b\x1c", "\x1c"}},
		{"\x1ca\x1cb", false, []string{"\x1ca\x1cb\x1c"}},
		{"", true, []string{"\x1c\x1c\x1c"}},
		{"\xff\x00\x03", false, []string{"\xff\x00\x03"}},
	} {
		var parts [][]byte
		for _, p := range c.parts {
			parts = append(parts, []byte(p))
		}
		pass, detach := scanAll(parts...)
		require.Equal(t, c.pass, string(pass), "%q", c.parts)
		require.Equal(t, c.detach, detach, "%q", c.parts)
	}
}

func FuzzDetach(f *testing.F) {
	f.Add([]byte("a\x1cb\x1c\x1c\x1c"), uint(2), uint(5))
	f.Fuzz(func(t *testing.T, all []byte, i, j uint) {
		i %= uint(len(all) + 1)
		j = i + j%(uint(len(all))-i+1)
		pass, detach := scanAll(all[:i], all[i:j], all[j:])
		want, _, found := bytes.Cut(all, []byte{detachKey, detachKey})
		if !found {
			want = bytes.TrimSuffix(all, []byte{detachKey})
		}
		require.Equal(t, found, detach)
		require.Equal(t, string(want), string(pass))
	})
}
