package instance

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func self(t *testing.T) string {
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func mountTiny(string) error { return unix.ENOTSUP }

func ownMounts() *syscall.SysProcAttr { return nil }
