package readiness

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzStatusCode: whatever answers, a status that HTTP has and that stands in the first line, or an error; and no more is read than a status
// line can have.
func FuzzStatusCode(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\n", "HTTP/1.0 302 Found\r\nLocation: x\r\n", "HTTP/1.1 99 x", "HTTP/1.1 +20", "HTTP/1. 200", "HTTP/2 200\n", "", "\n", "SSH-2.0-x\r\n", "HTTP/1.1  200"} {
		f.Add([]byte(s))
	}
	f.Add(bytes.Repeat([]byte("x"), maxStatus+1))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		code, err := statusCode(r)
		require.GreaterOrEqual(t, r.Len(), len(in)-maxStatus)
		if err != nil {
			require.Zero(t, code)
			return
		}
		require.True(t, code >= 100 && code <= 599, "%d", code)
		line, _, _ := bytes.Cut(in, []byte("\n"))
		require.Contains(t, string(line), " "+strconv.Itoa(code))
	})
}
