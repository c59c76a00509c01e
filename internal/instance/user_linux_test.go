package instance

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAsOrdinaryUser runs the tests of this package once more as one.
func TestAsOrdinaryUser(t *testing.T) {
	needRoot(t)
	dir := reachable(t, somebody)
	cmd := exec.Command(self(t), "-test.skip=^(TestAsOrdinaryUser|Fuzz.*)$", "-test.short")
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = dir
	cmd.SysProcAttr = asUser(somebody)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
