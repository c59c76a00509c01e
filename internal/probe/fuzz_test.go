package probe

import (
	"context"
	"encoding/json"
	"path"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/ipc"
)

// FuzzHello: whatever a client sends as hello is refused as parameters or reaches the daemon as it was meant; whatever a daemon
// answers is a verdict with a reason, and ready only when it serves this very directory.
func FuzzHello(f *testing.F) {
	for name := range frozen {
		data, err := golden.ReadFile(path.Join("testdata", name))
		require.NoError(f, err)
		f.Add(data)
	}
	for _, s := range []string{
		`{}`, `null`, `[]`, `{"protocol":[1]}`, `{"protocol":[1,2,3]}`, `{"protocol":[-9223372036854775808,9223372036854775807]}`, `{"protocol":[1.5,2]}`,
		`{"root":{"path":"/home/u/shop","dev":64769,"ino":-1}}`, `{"welcome":{},"draining":{}}`, `{"welcome":{"root":{"dev":64769,"ino":18446744073709551615}}}`,
		`{"welcome":null}`, `{"root_mismatch":{}}`, `{"incompatible":{"protocol":[9,7],"build":"\u001b]0;x\u0007"}}`, `{"welcome":{"started_at":"x"}}`,
	} {
		f.Add([]byte(s))
	}
	mine := Hello{Protocol: [2]int{MinProtocol, MaxProtocol}, Root: frozenRoot}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got *Hello
		var mux ipc.Mux
		HelloMethod.Bind(&mux, func(_ context.Context, h Hello) (HelloReply, error) {
			got = &h
			return HelloReply{}, nil
		})
		_, err := mux.Handle(t.Context(), HelloMethod.Name, data)
		require.Equal(t, err == nil, got != nil)
		if got != nil {
			again, err := json.Marshal(got)
			require.NoError(t, err)
			var back Hello
			require.NoError(t, json.Unmarshal(again, &back))
			require.Equal(t, *got, back)
		}

		var reply HelloReply
		if json.Unmarshal(data, &reply) != nil {
			return
		}
		r := replyReport(reply, nil, mine)
		switch r.Verdict {
		case Ready:
			require.True(t, r.Welcome.Root.Same(frozenRoot))
			require.Nil(t, reply.Draining)
			require.Nil(t, reply.Incompatible)
			require.Nil(t, reply.RootMismatch)
		case Draining:
			require.NotNil(t, reply.Draining)
		default:
			require.Contains(t, []Verdict{Skewed, Collision, Unknown}, r.Verdict)
			require.NotEmpty(t, r.Err.Error())
		}
	})
}

// FuzzPid: of any pid file, a number that a process can have and that is written there, or none.
func FuzzPid(f *testing.F) {
	for _, s := range []string{"4711\n", "", "0\n", "1\n", "-1\n", "4194304\n", "4194305", "+4711\n", "007\n", "99999999999999999999", "4711\n\n", "0x10\n", "1_0"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pid := parsePid(data)
		if pid == 0 {
			return
		}
		require.GreaterOrEqual(t, pid, 2)
		require.LessOrEqual(t, pid, maxPid)
		require.Contains(t, string(data), strconv.Itoa(pid))
	})
}
