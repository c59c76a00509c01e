package ipc

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// FuzzFrame sends arbitrary bytes to a server and expects it to end with them.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		"", "\n", "{", "[", "null\n", "[]\n", "{}\n", "C", "c:\r\n\r\n",
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{}}` + "\n",
		`{"id":"x","method":"m","meta":null}` + "\n" + `{"method":"n"}` + "\n",
		`{"id":0,"result":null}` + "\n", `{"id":0,"error":{"code":1}}` + "\n", `{"error":1}` + "\n",
		withHeader(`{"id":1,"method":"m"}`), "Content-Length: 0\r\n\r\n", "Content-Length: 99\r\n\r\n{",
		strings.Repeat("[", 100_000), `{"id":1e9,"method":"m"}` + "\n", `{"id":1,"ID":null,"method":"m"}` + "\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := socketpair(t)
		c := NewConn(context.Background(), a, ConnOptions{Handler: echo})
		_ = b.SetDeadline(time.Now().Add(patience))
		go func() {
			_, _ = b.Write(in)
			_ = b.CloseWrite()
		}()
		_, _ = io.Copy(io.Discard, b)
		gone := make(chan struct{})
		go func() { c.Wait(); close(gone) }()
		within(t, "end of the connection", gone)
	})
}
