package client

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestBridgeTakesATerminal: a line goes with its end, and ^D is the end of stdin.
func TestBridgeTakesATerminal(t *testing.T) {
	t.Parallel()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("needs pseudo-terminals")
	}
	defer keyboard.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer terminal.Close()

	sock, other := joined(t)
	done := make(chan error, 1)
	go func() { done <- bridge(t.Context(), sock, int(terminal.Fd()), int(terminal.Fd()), nil) }()
	write(t, keyboard, "select 1;\n")
	line := make([]byte, len("select 1;\n"))
	_, err = io.ReadFull(other, line)
	require.NoError(t, err)
	require.Equal(t, "select 1;\n", string(line))
	write(t, keyboard, "\x04")
	rest, err := io.ReadAll(other)
	require.NoError(t, err)
	require.Empty(t, rest)
	write(t, other, "1\n")
	require.NoError(t, other.Close())
	require.NoError(t, <-done)
	require.NoError(t, unix.Close(sock))
	shown := make([]byte, len("select 1;\r\n1\r\n"))
	_, err = io.ReadFull(keyboard, shown)
	require.NoError(t, err)
	require.Equal(t, "select 1;\r\n1\r\n", string(shown))
}
