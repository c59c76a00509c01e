package probe

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
)

//go:embed testdata/*.json
var golden embed.FS

// frozen are the messages of which no byte may change, ever: daemons and clients of all versions
// meet, and these are how they find out. A field may be added, at the end and with omitempty.
var frozen = map[string]any{
	"hello.json":          Hello{Protocol: [2]int{1, 1}, Build: "v1.2.3", Root: frozenRoot, Pid: 4711, Client: "hob", Lease: true},
	"hello.no_lease.json": Hello{Root: instance.Root{Path: "/"}},
	"hello.stream.json":   Hello{Protocol: [2]int{1, 1}, Build: "v1.2.3", Root: frozenRoot, Pid: 4711, Client: "greet", Lease: true, Stream: true},
	"welcome.json": HelloReply{Welcome: &Welcome{Protocol: 1, Build: "v1.2.3", Pid: 4242, ID: "0123456789abcdef", Root: frozenRoot,
		StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
	"welcome.stream.json": HelloReply{Welcome: &Welcome{Protocol: 1, Build: "v1.2.3", Pid: 4242, ID: "0123456789abcdef", Root: frozenRoot,
		StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Stream: true}},
	"draining.json":          HelloReply{Draining: &Leaving{Retry: true, Reason: "asked to stop"}},
	"draining.for_good.json": HelloReply{Draining: &Leaving{}},
	"incompatible.json":      HelloReply{Incompatible: &Incompatible{Protocol: [2]int{2, 3}, Build: "v2.0.0"}},
	"root_mismatch.json":     HelloReply{RootMismatch: &RootMismatch{Root: frozenRoot}},
	"retire.json":            Retire{Reason: "upgrade", Client: "hob"},
	"retiring.json":          RetireReply{},
}

var frozenRoot = instance.Root{Path: "/home/u/shop", Dev: 64769, Ino: 18446744073709551615}

func TestFrozenMessagesAreWritten(t *testing.T) {
	entries, err := golden.ReadDir("testdata")
	require.NoError(t, err)
	require.Len(t, entries, len(frozen))
	for name, v := range frozen {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, bytesOf(t, name), string(data)+"\n", name)
	}
}

func TestFrozenMessagesAreRead(t *testing.T) {
	for name, want := range frozen {
		got := reflect.New(reflect.TypeOf(want))
		require.NoError(t, json.Unmarshal([]byte(bytesOf(t, name)), got.Interface()), name)
		require.Equal(t, want, got.Elem().Interface(), name)
	}
}

// TestUnknownFieldsAreIgnored: a later version adds some, in every object.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	for name, want := range frozen {
		var v any
		dec := json.NewDecoder(bytesReader(t, name))
		dec.UseNumber() // an inode has 64 bits
		require.NoError(t, dec.Decode(&v))
		data, err := json.Marshal(fromTheFuture(v))
		require.NoError(t, err)
		got := reflect.New(reflect.TypeOf(want))
		require.NoError(t, json.Unmarshal(data, got.Interface()), name)
		require.Equal(t, want, got.Elem().Interface(), name)
	}
}

func fromTheFuture(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for k := range object {
		object[k] = fromTheFuture(object[k])
	}
	object["from_the_future"] = map[string]any{"a": []int{1}, "build": 7}
	return object
}

// TestFrozenFrames: the methods' names and the place of the messages in a frame are frozen too.
func TestFrozenFrames(t *testing.T) {
	frame := call(t, func(ctx context.Context, c *ipc.Conn) { _, _ = HelloMethod.Call(ctx, c, frozen["hello.json"].(Hello)) })
	require.JSONEq(t, `{"jsonrpc":"2.0","id":0,"method":"hob.hello","params":`+bytesOf(t, "hello.json")+`}`, frame)
	frame = call(t, func(ctx context.Context, c *ipc.Conn) {
		_, _ = RetireMethod.Call(ctx, c, frozen["retire.json"].(Retire))
	})
	require.JSONEq(t, `{"jsonrpc":"2.0","id":0,"method":"hob.retire","params":`+bytesOf(t, "retire.json")+`}`, frame)
}

// call gives the bytes of the first frame that f sends.
func call(t *testing.T, f func(context.Context, *ipc.Conn)) string {
	t.Helper()
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	c := ipc.NewConn(ctx, near, ipc.ConnOptions{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx, c)
	}()
	line, err := bufio.NewReader(far).ReadString('\n')
	require.NoError(t, err)
	cancel()
	require.NoError(t, far.Close())
	<-done
	require.NoError(t, c.Close())
	c.Wait()
	return line
}

// TestReplyHoldsOneAnswer: the zero reply says nothing at all, and none of the answers has to be
// guessed from an empty one.
func TestReplyHoldsOneAnswer(t *testing.T) {
	data, err := json.Marshal(HelloReply{})
	require.NoError(t, err)
	require.Equal(t, "{}", string(data))
	for name, v := range frozen {
		if _, reply := v.(HelloReply); !reply {
			continue
		}
		var keys map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(bytesOf(t, name)), &keys))
		require.Len(t, keys, 1, name)
		kind, _, _ := strings.Cut(name, ".")
		require.Contains(t, keys, kind)
	}
}

func bytesOf(t *testing.T, name string) string {
	t.Helper()
	data, err := golden.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return string(data)
}

func bytesReader(t *testing.T, name string) io.Reader {
	t.Helper()
	f, err := golden.Open("testdata/" + name)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
