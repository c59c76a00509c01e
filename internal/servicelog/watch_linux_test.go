package servicelog

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFollowWithoutInotify(t *testing.T) {
	o := place(t)
	w := open(t, o)
	out := output(t, w)
	r := read(t, o.Dir)
	r.watch.opened = true // as when fs.inotify.max_user_instances is used up
	say(t, w, out, "first\n")
	for _, want := range []string{"first", "polled"} {
		line, err := r.Follow(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, shown(line))
		go func() { _, _ = out.WriteString("polled\n") }()
	}
	require.Nil(t, r.watch.file)
}
