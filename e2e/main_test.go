//go:build linux

package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// bin is where the programs under test are, with fault points; hobd has the race detector when
// the tests have it. hob has not: there are thousands of its processes, each would take a tenth of
// a second to begin, and a herd would come one after the other. plain/ has both as they are
// released.
var bin string

// helpers are what the test binary can be instead of a test: HOB_E2E_HELPER names one. Each is
// used by at least one test (TestHelpersAreUsed).
var helpers = map[string]func(args []string) int{}

func TestMain(m *testing.M) {
	if name := os.Getenv("HOB_E2E_HELPER"); name != "" {
		h, ok := helpers[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "no helper %q\n", name)
			os.Exit(99)
		}
		os.Exit(h(os.Args[1:]))
	}
	os.Exit(run(m))
}

// TestHelpersAreUsed: a helper that no test names is dead code.
func TestHelpersAreUsed(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var source strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		source.Write(text)
	}
	for name := range helpers {
		name = strings.TrimSuffix(name, "-2") // a second generation has the name of the first
		use := regexp.MustCompile(`HOB_E2E_HELPER=` + name + `\b|spawn\([^,]*, "` + name + `"|members = .*"` + name + `"|helperRun\("` + name + `"`)
		require.True(t, use.MatchString(source.String()), "no test uses the helper %s", name)
	}
}

// heedAll: what a shell has ignored for its "&" would be ignored in all that is started here. One that is caught is not, after execve(2).
func heedAll() {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

func run(m *testing.M) int {
	// They wait for processes far more than for a processor.
	_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	heedAll()
	if bin = os.Getenv(insideVar); bin != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "hob-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Unprivileged tests run these programs too.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build() error {
	const hob, hobd = "github.com/hobworks/hob/cmd/client/hob", "github.com/hobworks/hob/cmd/daemon/hobd"
	daemon := []string{"build", "-tags", "hobfault", "-o", bin + "/", hobd}
	if raced {
		daemon = slices.Insert(daemon, 1, "-race")
	}
	return errors.Join(
		goBuild(raced, daemon),
		goBuild(false, []string{"build", "-tags", "hobfault", "-o", bin + "/", hob}),
		goBuild(false, []string{"build", "-o", filepath.Join(bin, "plain") + "/", hob, hobd}),
		goBuild(false, []string{"build", "-o", bin + "/", "./testdata/lineserver", "./testdata/watched"}))
}

func goBuild(cgo bool, args []string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if cgo {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}
