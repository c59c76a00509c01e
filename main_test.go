package hob_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hobworks/hob"
)

// patience is a deadline for what must happen: long, because a busy machine is no failure.
const patience = 60 * time.Second

// mains are the programs that the test binary is, beside the tests: the daemons of the tests, and
// the examples, each of which is a whole program that executes itself.
var mains = map[string]func(){
	"serve-test":    serveTest,
	"serve-greet":   Example,
	"serve-counter": ExampleServe,
	"serve-notes":   ExampleDial,
	"serve-http":    ExampleDialConn,
}

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && mains[os.Args[1]] != nil {
		time.AfterFunc(10*time.Minute, func() { os.Exit(99) }) // nothing outlives a broken test for long
		mains[os.Args[1]]()
		// The race detector would make this exit wait a second, and whoever waits for the lock, too.
		syscall.Exit(0)
	}
	os.Exit(runTests(m))
}

// runTests gives the tests a state directory, and looks at the end whether anything is left.
func runTests(m *testing.M) int {
	state, err := os.MkdirTemp("", "hob-root-")
	if err == nil {
		err = os.Setenv("HOB_STATE_DIR", filepath.Join(state, "s"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(state)
	code := m.Run()
	for _, err := range []error{goleak.Find(), leftovers(state)} {
		if err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// leftovers finds daemons that were not stopped, and what the race detector or a panic said in one.
func leftovers(state string) error {
	pids, _ := filepath.Glob(filepath.Join(state, "s", "*", "hob.pid"))
	if len(pids) > 0 {
		return fmt.Errorf("left running: %v", pids)
	}
	logs, _ := filepath.Glob(filepath.Join(state, "s", "*", "hobd.log"))
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil || bytes.Contains(text, []byte("DATA RACE")) || bytes.Contains(text, []byte("panic:")) {
			return fmt.Errorf("%s: %w\n%s", path, err, text)
		}
	}
	return nil
}

// serveTest is a daemon of the tests: serve-test ROLE DIR.
func serveTest() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	role, dir := os.Args[2], os.Args[3]
	o := &hob.ServeOptions{Build: "test"}
	name, idle, _ := strings.Cut(role, "/")
	if d, err := time.ParseDuration(idle); err == nil {
		after := make(chan time.Duration, 1)
		after <- d
		o.IdleExit = after
	}
	if err := hob.Serve(ctx, testInstance(role, dir), roles[name](o), o); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func testInstance(role, dir string) hob.Instance {
	return hob.Instance{Name: "test", Dir: dir, Command: []string{os.Args[0], "serve-test", role, dir}}
}

// newInstance is a project whose daemon plays role, and is ended with the test.
func newInstance(t *testing.T, role string) hob.Instance {
	t.Helper()
	inst := testInstance(role, t.TempDir())
	t.Cleanup(func() { stop(t, inst) })
	return inst
}

// stop ends the daemon, if there is one, and waits until it is gone.
func stop(t *testing.T, inst hob.Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := hob.Dial(ctx, inst, &hob.DialOptions{NoSpawn: true, NoLease: true})
	if codeOf(err) == "not_running" {
		return
	}
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Stop(ctx, false))
}

func codeOf(err error) string {
	e, _ := err.(*hob.Error)
	if e == nil {
		return ""
	}
	return e.Code
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
