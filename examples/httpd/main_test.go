package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is far above what anything here takes.
const patience = 60 * time.Second

// TestServesAndLeavesOnTERM runs the program as it is: at a port of its own, asked by itself.
func TestServesAndLeavesOnTERM(t *testing.T) {
	httpd := filepath.Join(t.TempDir(), "httpd")
	build := exec.Command("go", "build", "-o", httpd, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	server := exec.Command(httpd)
	server.Env = append(os.Environ(), "PORT=")
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	hung := time.AfterFunc(patience, func() { _ = server.Process.Kill() })
	t.Cleanup(func() {
		hung.Stop()
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	log := bufio.NewScanner(stdout)
	next := func() string {
		require.True(t, log.Scan(), "the log ended: %v", log.Err())
		return log.Text()
	}

	url, ok := strings.CutPrefix(next(), "listening on ")
	require.True(t, ok)
	for n := 1; n <= 2; n++ {
		answer, err := exec.Command(httpd, "-get", url+"/hello").Output()
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("pid %d, request %d\n", server.Process.Pid, n), string(answer))
		require.Contains(t, next(), "GET /hello from 127.0.0.1:")
	}

	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "leaving", next())
	require.False(t, log.Scan(), "nothing follows")
	require.NoError(t, server.Wait(), "exit status 0")
	require.Error(t, exec.Command(httpd, "-get", url).Run(), "nobody listens any more")
}
