package ipc

import (
	"io"
	"testing"
)

// BenchmarkCall is a small call and its answer on an open connection;
// BenchmarkRaw is the same bytes without JSON, for the ratio.
func BenchmarkCall(b *testing.B) {
	x, y := socketpair(b)
	server := NewConn(b.Context(), x, ConnOptions{Handler: echo})
	client := NewConn(b.Context(), y, ConnOptions{})
	for b.Loop() {
		var r sumResult
		if err := client.Call(b.Context(), "m", sumParams{1, 2}, &r); err != nil {
			b.Fatal(err)
		}
	}
	_ = client.Close()
	client.Wait()
	server.Wait()
}

func BenchmarkRaw(b *testing.B) {
	x, y := socketpair(b)
	go func() { _, _ = io.Copy(struct{ io.Writer }{x}, struct{ io.Reader }{x}) }()
	buf := make([]byte, 60)
	for b.Loop() {
		if _, err := y.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(y, buf); err != nil {
			b.Fatal(err)
		}
	}
	_ = y.Close()
}
