package spawn

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReady: of what a daemon, or another program in its place, says on the readiness channel, lines of bounded length are read and not a
// byte behind them; what is a message comes back as it was written.
func FuzzReady(f *testing.F) {
	for _, m := range []Message{{Ready: &Ready{Pid: 7}}, {Progress: &Progress{Stage: "load"}}, ErrorOf("bind", io.ErrUnexpectedEOF)} {
		line, err := json.Marshal(m)
		require.NoError(f, err)
		f.Add(append(line, "\nrest"...))
	}
	for _, s := range []string{"", "\n", "{}\n", "null\n", "!! not a message \x00\xff\n", `{"ready":null}` + "\n", `{"ready":{"pid":-1},"error":{}}` + "\n"} {
		f.Add([]byte(s))
	}
	f.Add(bytes.Repeat([]byte("x"), maxLine+1))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		line, err := readLine(r)
		require.LessOrEqual(t, len(line), maxLine)
		require.True(t, bytes.HasPrefix(in, line))
		read := len(in) - r.Len()
		switch {
		case err == nil:
			require.Equal(t, len(line)+1, read)
			require.Equal(t, byte('\n'), in[len(line)])
		case errors.Is(err, errLine):
			require.Equal(t, maxLine, read)
			return
		default:
			require.Zero(t, r.Len())
			return
		}
		require.LessOrEqual(t, len(clip(line)), 200)
		var m, back Message
		if json.Unmarshal(line, &m) != nil {
			return
		}
		again, err := json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(again, &back))
		require.Equal(t, m, back)
	})
}
