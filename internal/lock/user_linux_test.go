package lock

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAsOrdinaryUser runs the tests of this package once more as one.
func TestAsOrdinaryUser(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "hob-lock-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chown(dir, somebody, somebody))
	cmd := exec.Command(self, "-test.skip=^(TestAsOrdinaryUser|Fuzz.*)$")
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = dir
	cmd.SysProcAttr = asUser(somebody)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
