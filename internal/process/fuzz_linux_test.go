package process

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzProcStrings: of the environ and cmdline of any process, the strings that are there and no others; its mark is one that it carries, and
// it carries that one and no longer or shorter one.
func FuzzProcStrings(f *testing.F) {
	for _, s := range []string{
		"", "\x00", "A=1\x00HOB_ID=0123456789abcdef/web/1\x00", "HOB_ID=\x00HOB_ID=x\x00", "XHOB_ID=x/y/1\x00", "HOB_ID=x", "HOB_ID=x\x00\x00\x00", "sleep\x001000\x00",
		"A=\nHOB_ID=x/y/1\x00", "HOB_ID",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list := zeroEnded(b)
		require.Equal(t, strings.TrimRight(string(b), "\x00"), strings.Join(list, "\x00"))
		for _, s := range list {
			require.NotContains(t, s, "\x00")
		}
		e := &entry{env: func() []byte { return b }}
		mark := e.mark()
		if mark == "" {
			require.False(t, bytes.Contains(append([]byte{0}, b...), []byte("\x00HOB_ID=")) && !strings.Contains("\x00"+string(b)+"\x00", "\x00HOB_ID=\x00"))
			return
		}
		require.Contains(t, e.marks(), mark)
		require.Contains(t, list, MarkName+"="+mark)
		longer, shorter := MarkName+"="+mark+"x", MarkName+"="+mark[:len(mark)-1]
		for _, s := range []string{longer, shorter} {
			carried := false
			for _, have := range list {
				carried = carried || have == s
			}
			if s != MarkName+"=" || !bytes.HasSuffix(b, []byte{0}) {
				require.Equal(t, carried, slices.Contains(e.marks(), strings.TrimPrefix(s, MarkName+"=")), "%q", s)
			}
		}
	})
}

// FuzzInstanceLock: only the lock file of an instance is taken for one.
func FuzzInstanceLock(f *testing.F) {
	for _, s := range []string{
		"/s/instance-0123456789abcdef.lock", "/s/instance-0123456789abcdef.lock (deleted)", "instance-0123456789abcdef.lock/", "/instance-.lock",
		"/instance-0123456789ABCDEF.lock", "/instance-0123456789abcdef.lock.lock", "", "/", "/x (deleted)", "/instance-0123456789abcdef0.lock",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, link string) {
		if !isInstanceLock(link) {
			return
		}
		i := strings.LastIndex(link, "instance-")
		require.GreaterOrEqual(t, i, 0)
		require.Len(t, strings.TrimSuffix(strings.TrimRight(link[i:], "/"), " (deleted)"), len("instance-0123456789abcdef.lock"))
	})
}
