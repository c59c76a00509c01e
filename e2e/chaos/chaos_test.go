//go:build linux

package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEveryFaultIsSurvived lets all faults loose on several projects for CHAOS_DURATION, and 6 s without. HOB_CHAOS_SEED
// has the drivers choose what they chose in an earlier run; CHAOS_ONLY names the projects, for who looks for something.
func TestEveryFaultIsSurvived(t *testing.T) {
	c := config{Duration: 6 * time.Second, Patience: 30 * time.Second, Seed: rand.Uint64(), Only: strings.Fields(os.Getenv("CHAOS_ONLY"))}
	var err error
	if v := os.Getenv("CHAOS_DURATION"); v != "" {
		c.Duration, err = time.ParseDuration(v)
		require.NoError(t, err)
	}
	if v := os.Getenv("HOB_CHAOS_SEED"); v != "" {
		c.Seed, err = strconv.ParseUint(v, 10, 64)
		require.NoError(t, err)
	}
	c.Bin = t.TempDir()
	require.NoError(t, build(c.Bin, ""))
	out, err := run(t, c, os.Args[0], nil)
	t.Logf("HOB_CHAOS_SEED=%d\n%s", c.Seed, out)
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &use)
	t.Logf("cpu: user %v system %v", time.Duration(use.Utime.Nano()), time.Duration(use.Stime.Nano()))
	require.NoError(t, err)
}

// run runs the harness, in namespaces of its own where that is allowed.
func run(t *testing.T, c config, program string, env []string) (string, error) {
	for _, c.Private = range []bool{true, false} {
		base, err := os.MkdirTemp("", "hob-chaos-")
		require.NoError(t, err)
		defer os.RemoveAll(base)
		c.Base = base
		conf, err := c.env()
		require.NoError(t, err)
		cmd := exec.Command(program)
		role := "harness"
		if cmd.SysProcAttr = (&syscall.SysProcAttr{}); c.Private {
			role = "init"
			own(cmd)
		}
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		cmd.Env = append(append(os.Environ(), conf, roleVar+"="+role), env...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		runtime.LockOSThread() // whose end would be the parent's, prctl(2)
		err = cmd.Start()
		if err != nil && c.Private {
			runtime.UnlockOSThread()
			t.Logf("no namespaces of its own here (%v): it goes on without", err)
			continue
		}
		require.NoError(t, err)
		timer := time.AfterFunc(c.Duration+8*c.Patience, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		runtime.UnlockOSThread()
		if !timer.Stop() {
			err = errors.Join(errors.New("it hung"), err)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", program, err)
		}
		return out.String(), err
	}
	return "", nil
}
