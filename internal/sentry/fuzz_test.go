package sentry

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzFrame: any frame is read as something that has one meaning, and comes back as it was written.
func FuzzFrame(f *testing.F) {
	for _, fr := range []frame{{op: opDaemon, n: 4711}, {op: opHold, n: 1, name: "socket/web"}, {op: opDoor}, {op: opDrop, n: 1<<32 - 1}, {op: opRetire}, {op: opGoodbye}} {
		f.Add(fr.bytes())
	}
	f.Add(make([]byte, frameSize))
	f.Add(append((frame{op: 255, n: 7}).bytes()[:8], make([]byte, maxName)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frameSize {
			b = append(b, make([]byte, frameSize-len(b))...)
		}
		fr := parseFrame(b[:frameSize])
		require.LessOrEqual(t, len(fr.name), maxName)
		require.NotContains(t, fr.name, "\x00")
		again := fr.bytes()
		require.Len(t, again, frameSize)
		require.Equal(t, fr, parseFrame(again))
	})
}
