//go:build linux

package e2e

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
)

func init() {
	// unprivileged is hob as root calls it for somebody else: PostgreSQL does not run for root, and takes no uid without a name.
	helpers["unprivileged"] = func(args []string) int {
		hob := os.Getenv("HOB_E2E_HOB")
		uid, gid, err := nobody()
		if err == nil {
			err = syscall.Setgroups(nil)
		}
		if err == nil {
			err = syscall.Setgid(gid)
		}
		if err == nil {
			err = syscall.Setuid(uid)
		}
		if err == nil {
			env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "HOB_E2E_") })
			err = syscall.Exec(hob, append([]string{hob}, args...), env)
		}
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
}

func nobody() (uid, gid int, err error) {
	u, err := user.Lookup("nobody")
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// stack is a world whose project is a copy of examples/stack.
type stack struct {
	*world

	url    string // of the web server
	visits int    // so far
}

// newStack makes one that belongs to the caller: it is for root then, and will not work.
func newStack(t *testing.T) *stack {
	t.Helper()
	if out, err := exec.Command("id", "-un").CombinedOutput(); err != nil {
		t.Skipf("PostgreSQL takes no user id without a name: %s", out)
	}
	s := &stack{world: newWorld(t)}
	const example = "../examples/stack"
	for _, dir := range []string{"bin", "web"} { // and not what a run of the example has left there
		require.NoError(t, unforked(func() error {
			return os.CopyFS(filepath.Join(s.project, dir), os.DirFS(filepath.Join(example, dir)))
		}))
	}
	text, err := os.ReadFile(filepath.Join(example, "hob.toml"))
	require.NoError(t, err)
	s.toml(string(text))
	s.needs("PostgreSQL", "bin/pg", "postgres", "--version")
	s.needs("PostgreSQL", "bin/pg", "initdb", "--version")
	s.needs("PostgreSQL", "bin/pg", "pg_isready", "--version")
	s.needs("Redis", "redis-server", "--version")
	// Whatever happened: killed, PostgreSQL would leave shared memory behind, and its processes don't show whose they are.
	t.Cleanup(func() {
		s.hob("down")
		for _, pid := range s.in(".") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return s
}

// needs skips the test where a program is not there; CI has to have it.
func (s *stack) needs(what, program string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = s.project
	if out, err := cmd.CombinedOutput(); err != nil {
		require.NotEqual(s.t, "true", os.Getenv("CI"), "%s is not installed, and CI=true: %v %s", what, err, out)
		s.t.Skipf("%s is not installed: %v %s", what, err, out)
	}
}

// settle gives the web server a port and compiles it, as "go run" would with nobody's empty cache; then all of the world is
// nobody's, if root is the caller.
func (s *stack) settle() {
	s.t.Helper()
	base := filepath.Dir(s.home)
	web := filepath.Join(base, "web")
	build := exec.Command("sh", "-c", `go build -o "$1" web/*.go`, "sh", web)
	build.Dir, build.Env = s.project, append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(s.t, err, "%s", out)

	addr := freePort(s.t)
	s.url = "http://" + addr
	_, port, _ := strings.Cut(addr, ":")
	local := fmt.Sprintf("[services.web]\nrun = [%q]\nenv = { PORT = %s }\nready = { http = %q }\n", web, port, s.url+"/ready")
	require.NoError(s.t, os.WriteFile(filepath.Join(s.project, "hob.local.toml"), []byte(local), 0o644))
	if os.Geteuid() != 0 {
		return
	}
	uid, gid, err := nobody()
	require.NoError(s.t, err)
	s.env = append(s.env, "HOB_E2E_HELPER=unprivileged", "HOB_E2E_HOB="+filepath.Join(s.bin, "hob"))
	s.bin = filepath.Join(base, "bin")
	require.NoError(s.t, os.Mkdir(s.bin, 0o755))
	require.NoError(s.t, os.Symlink(self(s.t), filepath.Join(s.bin, "hob")))
	require.NoError(s.t, filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	}))
}

// up brings all of it up, each in one run. initdb alone can take very long on a slow disk.
func (s *stack) up() {
	s.t.Helper()
	before := s.list()
	up := s.follow("up")
	select {
	case <-up.exited:
	case <-time.After(3 * patience):
		require.Fail(s.t, "hob up hung", "%s\nlog: %s", up.stderr, s.daemonLog())
	}
	require.Zero(s.t, up.wait(), "%s\nlog: %s", up.stderr, s.daemonLog())
	all := s.list()
	for name, state := range map[string]string{"initdb": "done", "db": "ready", "cache": "ready", "web": "ready"} {
		require.Equal(s.t, state, all[name].State, name)
		require.Equal(s.t, before[name].Generation+1, all[name].Generation, name)
	}
}

// visit asks the web server once more. Both databases have counted every visit.
func (s *stack) visit() {
	s.t.Helper()
	s.visits++
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(s.url + "/")
	require.NoError(s.t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, fmt.Sprintf("200 OK postgres %d, redis %[1]d\n", s.visits), r.Status+" "+string(text))
}

// session has PostgreSQL work for a session without end, which does not notice when its postmaster has gone.
func (s *stack) session() *follower {
	s.t.Helper()
	f := s.follow("exec", "db", "--", "bin/pg", "psql", "-h", filepath.Join(s.project, ".pg"), "-U", "app", "-d", "postgres",
		"-c", "DO $$ BEGIN RAISE NOTICE 'busy'; LOOP END LOOP; END $$")
	s.eventually("the session is busy", func() bool { return strings.Contains(f.stderr.String(), "busy") })
	return f
}

// dbIsBack waits until db is ready with another process than before, and nothing is left of the one before.
func (s *stack) dbIsBack(before api.Service) {
	s.t.Helper()
	s.eventually("db is ready again", func() bool {
		db := s.list()["db"]
		return db.State == "ready" && db.Pid != before.Pid
	})
	s.eventually("all of PostgreSQL that runs is of the new run", func() bool {
		running, tree := s.in(".pg"), s.doc(0, "ps", "db").Service.Pids
		return len(running) > 1 && !slices.ContainsFunc(running, func(pid int) bool { return !slices.Contains(tree, pid) })
	})
}

// in are the processes whose working directory is in that directory of the project.
func (s *stack) in(dir string) (pids []int) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to+"/", filepath.Join(s.project, dir)+"/") {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// requireSame wants the services to be the very processes that they were.
func (s *stack) requireSame(before map[string]api.Service, names ...string) {
	s.t.Helper()
	after := s.list()
	for _, name := range names {
		was, is := before[name], after[name]
		require.Equal(s.t, []any{"ready", was.Pid, was.Generation, was.Restarts}, []any{is.State, is.Pid, is.Generation, is.Restarts}, name)
	}
}

// TestStack: PostgreSQL, Redis and a web server that needs both, from nothing to all ready, and no visit is ever
// forgotten, whoever is killed.
func TestStack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.settle()
	s.up()
	s.visit()
	s.visit()

	// PostgreSQL is killed: another one recovers what it wrote, once all of the first have gone. They have overwritten their
	// environment, with the mark, and each is of a session of its own.
	before := s.list()
	session := s.session()
	s.kill(before["db"].Pid, syscall.SIGKILL)
	s.dbIsBack(before["db"])
	require.NotZero(t, session.wait(), "it lost its server")
	require.Equal(t, 1+before["db"].Restarts, s.list()["db"].Restarts)
	s.requireSame(before, "cache", "web")
	s.visit()

	// hobd is killed: nobody notices.
	before = s.list()
	was := s.pid()
	s.kill(was, syscall.SIGKILL)
	s.visit()
	s.back(was)
	s.requireSame(before, "db", "cache", "web")
	require.Equal(t, 1+before["web"].Adopted, s.list()["web"].Adopted)
	s.visit()

	// Both at once.
	was = s.pid()
	session = s.session()
	s.kill(was, syscall.SIGKILL)
	s.kill(before["db"].Pid, syscall.SIGKILL)
	s.back(was)
	s.dbIsBack(before["db"])
	require.NotZero(t, session.wait(), "it lost its server")
	s.requireSame(before, "cache", "web")
	s.visit()

	// In good order, under a web server that stays.
	before = s.list()
	session = s.session()
	s.ok("restart", "db")
	s.dbIsBack(before["db"])
	require.NotZero(t, session.wait(), "it was asked to leave")
	s.requireSame(before, "cache", "web")
	s.visit()

	before = s.list()
	for _, service := range s.doc(0, "down").Services {
		require.Empty(t, service.Killed, service.Name)
	}
	for name, service := range s.list() {
		require.Contains(t, []string{"stopped", "done"}, service.State, name)
		require.Empty(t, s.marked(name))
		require.True(t, service.Pid == 0 && (name == "initdb" || !running(before[name].Pid)), name)
	}
	require.Empty(t, s.in("."))
	require.Empty(t, openers(s.inst().LockPath()))
	_, err := http.Get(s.url)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoFileExists(t, filepath.Join(s.project, ".pg/postmaster.pid"))
	require.Contains(t, s.ok("logs", "-n1", "db").stdout, "database system is shut down")

	s.up()
	s.visit()
}

// TestStackTellsRootWhyNot: PostgreSQL does not run for root, and that is what hob up says.
func TestStackTellsRootWhyNot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root is refused")
	}
	s := newStack(t)
	r := s.hob("up")
	require.Equal(t, 1, r.code, r.stderr)
	require.Regexp(t, `(?m)^ +initdb: error: cannot be run as root$`, r.stderr)
	require.Equal(t, "failed", s.list()["initdb"].State)
	require.Equal(t, "failed", s.list()["web"].State)
}
