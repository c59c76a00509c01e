package store

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzState: a state that is taken is the one of the service that the file is called after, has a command and nobody's variables, and is
// the same when it is written and read once more.
func FuzzState(f *testing.F) {
	good, err := json.Marshal(status("web", "A=1"))
	require.NoError(f, err)
	f.Add(good, "web")
	f.Add(good[:len(good)/2], "web")
	f.Add(good, "other")
	for _, s := range []string{
		``, `null`, `[]`, `{}`, `{"name":"web"}`, `{"name":"web","cmd":[]}`, `{"name":"web","cmd":["a"],"Env":["SECRET=1"],"Set":["SECRET=1"]}`,
		`{"name":"web","cmd":["a"],"pid":-1,"start":18446744073709551615}`, `{"name":"web","cmd":["a"],"pid":99999999999999999999}`,
		`{"name":"web","cmd":["a"],"state":"nonsense","want":5}`, `{"name":"web","cmd":["a"],"env":"../../../x"}`,
		`{"name":"web","cmd":["a"],"started_at":"0000-00-00T00:00:00Z"}`, `{"name":"web","cmd":["a"],"exits":[null,{}],"exit":null}`,
	} {
		f.Add([]byte(s), "web")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		st, err := decodeStatus(data, name)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Equal(t, name, st.Name)
		require.NotEmpty(t, st.Cmd)
		require.Nil(t, st.Env)
		require.Nil(t, st.Set)
		again, err := json.Marshal(st)
		require.NoError(t, err)
		back, err := decodeStatus(again, name)
		require.NoError(t, err)
		third, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}

// FuzzSettings: what is taken is the same when it is written and read once more.
func FuzzSettings(f *testing.F) {
	for _, s := range []string{`{"idle_exit":600000000000}`, `{}`, `null`, `{"idle_exit":-1}`, `{"idle_exit":1e30}`, `{"idle_exit":"1s"}`, `[`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSettings(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		require.NoError(t, err)
		back, err := decodeSettings(again)
		require.NoError(t, err)
		require.Equal(t, s, back)
	})
}

// FuzzEnvironment: only what was stored under a name is taken by that name, and it comes back as it was.
func FuzzEnvironment(f *testing.F) {
	for _, s := range []string{"", "A=1", "A=1\x00B=2", "A=b\nC=d", "\x00", "A=1\x00", "=\x00=\x00", "A=\xff"} {
		f.Add([]byte(s), hash(strings.Split(s, "\x00")))
	}
	f.Add([]byte("A=1"), "../x")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		env, ok := decodeEnv(data, name)
		require.Equal(t, hash(env) == name, ok)
		require.Equal(t, string(data), strings.Join(env, "\x00"))
		again, ok := decodeEnv(data, hash(env))
		require.True(t, ok)
		require.Equal(t, env, again)
	})
}
