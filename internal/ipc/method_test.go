package ipc

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

type sumParams struct {
	A int `json:"a"`
	B int `json:"b"`
}

type sumResult struct {
	Sum int `json:"sum"`
}

var sum = Method[sumParams, sumResult]{Name: "math.sum", Doc: "adds"}

func sumMux() *Mux {
	var mux Mux
	sum.Bind(&mux, func(_ context.Context, p sumParams) (sumResult, error) { return sumResult{p.A + p.B}, nil })
	Method[struct{}, struct{}]{Name: "hob.fail"}.Bind(&mux, func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, &Error{Code: CodeFailed, Message: "no"}
	})
	return &mux
}

func TestMethodGoesThroughTheWire(t *testing.T) {
	t.Parallel()
	a, b := socketpair(t)
	mux := sumMux()
	server := NewConn(t.Context(), a, ConnOptions{Handler: func(ctx context.Context, _ *Conn, r *Request) (any, error) {
		return mux.Handle(ctx, r.Method, r.Params)
	}})
	client := NewConn(t.Context(), b, ConnOptions{})
	defer func() { _ = client.Close(); client.Wait(); server.Wait() }()

	r, err := sum.Call(t.Context(), client, sumParams{2, 3})
	require.NoError(t, err)
	require.Equal(t, sumResult{5}, r)
	_, err = Method[struct{}, int]{Name: "math.none"}.Call(t.Context(), client, struct{}{})
	require.Equal(t, &Error{Code: CodeMethodNotFound, Message: "no such method: math.none", Data: &ErrorData{Code: "no_such_method"}}, err)
	_, err = Method[string, sumResult]{Name: "math.sum"}.Call(t.Context(), client, "x")
	require.ErrorContains(t, err, "invalid params: math.sum: json: cannot unmarshal string")
	_, err = Method[sumParams, string]{Name: "math.sum"}.Call(t.Context(), client, sumParams{})
	require.ErrorContains(t, err, "call math.sum: json: cannot unmarshal object")
	_, err = Method[struct{}, struct{}]{Name: "hob.fail"}.Call(t.Context(), client, struct{}{})
	require.EqualError(t, err, "no")
}

func TestMuxIsLenientWithFieldsAndStrictWithNames(t *testing.T) {
	t.Parallel()
	mux := sumMux()
	require.Equal(t, []string{"hob.fail", "math.sum"}, mux.Names())
	for params, want := range map[string]int{"": 0, "null": 0, "{}": 0, `{"a":1,"z":{}}`: 1} {
		r, err := mux.Handle(t.Context(), "math.sum", []byte(params))
		require.NoError(t, err, params)
		require.Equal(t, sumResult{want}, r, params)
	}
	require.Panics(t, func() { sum.Bind(mux, nil) })
	require.Empty(t, (&Mux{}).Names())
}
