package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is a deadline for what must happen: long, because a busy machine is no failure.
const patience = 60 * time.Second

// somebody is a user id that is neither root's nor, as a rule, that of whoever runs the tests.
const somebody = 65534

const helperVar = "INSTANCE_TEST_HELPER"

// helpers are processes that the test binary plays: what depends on the whole environment, the
// working directory or the user can't be tried in this one. Each prints its answer as JSON.
var helpers = map[string]func() (any, error){
	"state":   helpState,
	"find":    helpFind,
	"deleted": helpDeleted,
	"full":    helpFull,
}

// answer is what a helper says; Err is the error's text and Kind its type.
type answer struct {
	Text string
	Err  string
	Kind string
}

func TestMain(m *testing.M) {
	role := os.Getenv(helperVar)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	v, err := helpers[role]()
	a := answer{}
	if err != nil {
		a.Err, a.Kind = err.Error(), fmt.Sprintf("%T", err)
	} else {
		a.Text = fmt.Sprint(v)
	}
	_ = json.NewEncoder(os.Stdout).Encode(a)
	os.Exit(0)
}

// ask runs a helper as uid with nothing in its environment but env.
func ask(t *testing.T, role string, uid int, dir string, attr *syscall.SysProcAttr, env ...string) answer {
	t.Helper()
	cmd := exec.Command(self(t))
	// The race detector makes every exit wait a second.
	cmd.Env = append(env, helperVar+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Dir, cmd.SysProcAttr, cmd.Stderr = dir, attr, os.Stderr
	if uid != os.Geteuid() {
		cmd.SysProcAttr = asUser(uid)
	}
	out, err := cmd.Output()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		return answer{Err: "start: " + err.Error()} // no such namespace for us
	}
	require.NoError(t, err)
	var a answer
	require.NoError(t, json.Unmarshal(out, &a), "%s", out)
	return a
}

func asUser(uid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
}

// helpState prints where the instances of this user live.
func helpState() (any, error) {
	i, err := New(Root{Path: "/p"}, "")
	return i.State + " " + i.Moved, err
}

// helpFind prints the root of the working directory.
func helpFind() (any, error) {
	r, err := FindRoot(".")
	return r.Path, err
}

// helpDeleted looks for the root of a working directory that is gone.
func helpDeleted() (any, error) {
	if err := os.Mkdir("gone", 0o700); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chdir("gone"), os.Remove("../gone")); err != nil {
		return nil, err
	}
	r, err := FindRoot(".")
	return r.Path, err
}

// canonical gives an empty directory by its real path: on some systems $TMPDIR is a symlink.
func canonical(t *testing.T) string {
	t.Helper()
	r, err := OpenRoot(t.TempDir())
	require.NoError(t, err)
	return r.Path
}

// reachable gives a directory that other users can enter, owned by uid; t.TempDir can't be.
func reachable(t *testing.T, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hob-instance-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chown(dir, uid, -1))
	r, err := OpenRoot(dir)
	require.NoError(t, err)
	return r.Path
}

func mkdir(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	require.NoError(t, os.MkdirAll(path, 0o700))
	return path
}

func touch(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	return path
}

// openTemp gives an open, empty directory of mode 0700.
func openTemp(t *testing.T) *os.File {
	t.Helper()
	path := canonical(t)
	require.NoError(t, os.Chmod(path, 0o700))
	dir, err := openDir(path, false)
	require.NoError(t, err)
	t.Cleanup(func() { dir.Close() })
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	all := []string{}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// obstacles put something else where a file or directory of ours belongs. The name says what.
var obstacles = map[string]func(path string) error{
	"a symlink": func(path string) error { return os.Symlink("elsewhere", path) },
	"a FIFO":    func(path string) error { return unix.Mkfifo(path, 0o600) },
	"a socket": func(path string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	},
	"a file":      func(path string) error { return os.WriteFile(path, nil, 0o600) },
	"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
}

// inTime fails the test when f hangs.
func inTime(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s hangs", what)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}
