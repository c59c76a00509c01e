package client

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

func TestTableIsAlignedWithoutTrailingSpaces(t *testing.T) {
	tab := &table{}
	tab.row("NAME", "STATE", "WHY")
	tab.row("wéb", "", "")
	tab.row("a-long-name", "running", "port 3000\nis \x1b[31mheld")
	var out bytes.Buffer
	require.NoError(t, tab.write(&out))
	require.Equal(t, "NAME         STATE    WHY\n"+
		"wéb          -\n"+
		"a-long-name  running  port 3000 is held\n", out.String())
}

// TestColourDoesNotMoveColumns: sequences have no width.
func TestColourDoesNotMoveColumns(t *testing.T) {
	tab := &table{color: true}
	tab.cells(cell{"up", green}, cell{text: "x"})
	tab.cells(cell{"stopped", dim}, cell{text: "y"})
	var out bytes.Buffer
	require.NoError(t, tab.write(&out))
	require.Equal(t, "\x1b[32mup\x1b[0m       x\n\x1b[2mstopped\x1b[0m  y\n", out.String())
}

func TestWordsForPeople(t *testing.T) {
	require.Equal(t, "59s", span(59*time.Second))
	require.Equal(t, "1m0s", span(time.Minute))
	require.Equal(t, "2h5m", span(2*time.Hour+5*time.Minute))
	require.Equal(t, "3d4h", span(76*time.Hour))
	require.Equal(t, "0s", span(-time.Hour))
	require.Equal(t, "1023B", size(1023))
	require.Equal(t, "1.0K", size(1024))
	require.Equal(t, "12M", size(12<<20))
	require.Equal(t, `sh -c 'echo '\''hi'\''' ''`, quote([]string{"sh", "-c", "echo 'hi'", ""}))
	for want, s := range map[string]api.Service{
		"running (pid 12)": {State: "running", Pid: 12},
		"stopped":          {State: "stopped"},
		"stopped; had to kill 1 process (pid 12)":        {State: "stopped", Killed: []int{12}, Why: "had to kill pid 12"},
		"stopped; had to kill 2 processes (pids 12, 13)": {State: "stopped", Killed: []int{12, 13}},
		"failed (exit 1)": {State: "failed", Why: "exit 1"},
		"done (exit 0; 1 of its processes live on (pid 5))": {State: "done", Why: "exit 0; 1 of its processes live on (pid 5)", Pid: 5},
	} {
		require.Equal(t, want, outcome(s))
	}
}
