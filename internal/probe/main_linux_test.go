package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// patience is a deadline for what must happen: long, because a busy machine is no failure.
const patience = 60 * time.Second

// somebody is a user id that is neither root's nor, as a rule, that of whoever runs the tests.
const somebody = 65534

// self is this program for a child of any user: its path may lead through directories of mode 0700.
const self = "/proc/self/exe"

const helperVar = "PROBE_TEST_HELPER"

// daemon is what the helper process, this binary again, plays.
type daemon struct {
	Inst    instance.Instance
	Lock    bool
	Guard   bool
	Socket  bool
	Listen  bool       // at descriptor 3, which somebody else made
	Phase   lock.Phase // of the record; "": none
	Boot    string     // of the record, when it is not this boot
	Pid     int        // of the record, when it is not the helper's
	PidFile string
	Answer  string // to hello, a key of answers or rawAnswers
	Client  bool   // it is none, and says what it finds
	Lose    int    // connections that are closed after their hello, before the first answer
}

// answers are those of a daemon that speaks the protocol.
var answers = map[string]func(d daemon, h Hello) (HelloReply, error){
	"welcome": func(d daemon, h Hello) (HelloReply, error) {
		return HelloReply{Welcome: &Welcome{Protocol: 1, Build: "b", Pid: os.Getpid(), ID: d.Inst.ID, Root: h.Root}}, nil
	},
	"welcome to another root": func(d daemon, h Hello) (HelloReply, error) {
		return HelloReply{Welcome: &Welcome{Pid: os.Getpid(), Root: instance.Root{Path: h.Root.Path, Dev: h.Root.Dev, Ino: h.Root.Ino + 1}}}, nil
	},
	"draining": func(daemon, Hello) (HelloReply, error) {
		return HelloReply{Draining: &Leaving{Retry: true, Reason: "asked to stop"}}, nil
	},
	"incompatible": func(daemon, Hello) (HelloReply, error) {
		return HelloReply{Incompatible: &Incompatible{Protocol: [2]int{7, 9}, Build: "v9"}}, nil
	},
	"root mismatch": func(_ daemon, h Hello) (HelloReply, error) {
		return HelloReply{RootMismatch: &RootMismatch{Root: instance.Root{Path: "/other", Dev: 1, Ino: 2}}}, nil
	},
	"something new": func(daemon, Hello) (HelloReply, error) { return HelloReply{}, nil },
	"an error":      func(daemon, Hello) (HelloReply, error) { return HelloReply{}, errors.New("no hello today") },
}

// rawAnswers are those of what speaks something else, or nothing.
var rawAnswers = map[string]string{
	"silence":     "",
	"half a line": `{"jsonrpc":"2.0","id":0,"resu`,
	"garbage":     "HTTP/1.1 400 Bad Request\r\n\r\n",
}

func TestMain(m *testing.M) {
	config := os.Getenv(helperVar)
	if config == "" {
		goleak.VerifyTestMain(m)
		return
	}
	time.AfterFunc(4*patience, func() { os.Exit(99) }) // nothing outlives a broken test for long
	var d daemon
	err := json.Unmarshal([]byte(config), &d)
	if err == nil && d.Client {
		fmt.Println(d.playContact())
		return
	}
	if err == nil {
		err = d.play()
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("there")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// play takes the places that d says, in the daemon's order.
func (d daemon) play() error {
	if d.Listen {
		return unix.Listen(3, 16)
	}
	state, err := d.Inst.OpenState(true)
	if err != nil {
		return err
	}
	if d.Guard {
		key, err := d.Inst.Key(state)
		if err != nil {
			return err
		}
		g, err := lock.TryGuard(key)
		if err != nil {
			return err
		}
		go g.Serve()
	}
	if d.Lock {
		l, err := lock.TryAcquire(state, d.Inst.LockName())
		if err == nil && d.Phase != "" {
			err = d.record(l)
		}
		if err != nil {
			return err
		}
		held = l
	}
	dir, err := d.Inst.OpenDir(state, true)
	if err != nil {
		return err
	}
	if d.PidFile != "" {
		if err := instance.WriteFile(dir, instance.PidName, []byte(d.PidFile)); err != nil {
			return err
		}
	}
	if !d.Socket {
		return nil
	}
	l, err := ipc.Listen(dir, instance.SocketName)
	if err != nil {
		return err
	}
	go d.serve(l)
	return l.Publish()
}

// held must not be collected, and closed by that, while the helper sits.
var held *lock.Lock

func (d daemon) record(l *lock.Lock) error {
	id, err := process.Identify(os.Getpid())
	if d.Pid != 0 {
		id, err = process.Identify(d.Pid)
	}
	if d.Boot != "" {
		id.Boot = d.Boot
	}
	if err != nil {
		return err
	}
	return l.WriteRecord(lock.Record{Attempt: 1, Phase: d.Phase, Boot: id.Boot, Pid: id.Pid, Start: id.Start})
}

func (d daemon) serve(l *ipc.Listener) {
	for n := 0; ; n++ {
		c, err := l.Accept(nil)
		if err != nil {
			return
		}
		if raw, ok := rawAnswers[d.Answer]; ok || n < d.Lose {
			go answerRaw(c, raw, n < d.Lose)
			continue
		}
		mux := &ipc.Mux{}
		HelloMethod.Bind(mux, func(_ context.Context, h Hello) (HelloReply, error) { return answers[d.Answer](d, h) })
		ipc.NewConn(context.Background(), c, ipc.ConnOptions{
			Handler: func(ctx context.Context, _ *ipc.Conn, r *ipc.Request) (any, error) {
				return mux.Handle(ctx, r.Method, r.Params)
			}})
	}
}

func answerRaw(c net.Conn, say string, hangUp bool) {
	line, _ := bufio.NewReader(c).ReadString('\n')
	if len(line) == 0 || hangUp {
		c.Close()
		return
	}
	_, _ = io.WriteString(c, say)
	select {} // and holds the connection
}

// newInstance gives an instance with nothing on disk but its project.
func newInstance(t *testing.T) instance.Instance {
	t.Helper()
	base := t.TempDir()
	root, err := instance.OpenRoot(base)
	require.NoError(t, err)
	return instance.Instance{ID: "0123456789abcdef", Root: root, State: filepath.Join(base, "hob")}
}

// start plays d in a process of its own, until the end of the test or kill.
func start(t *testing.T, d daemon, adjust func(*exec.Cmd)) *os.Process {
	t.Helper()
	config, err := json.Marshal(d)
	require.NoError(t, err)
	cmd := exec.Command(self)
	// The race detector makes every exit wait a second.
	cmd.Env = append(os.Environ(), helperVar+"="+string(config), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if adjust != nil {
		adjust(cmd)
	}
	_, err = cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // also when it is stopped
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the helper said %q", line)
	require.Equal(t, "there\n", line)
	return cmd.Process
}

// kill ends the helper, and waits until its lock and guard are free: a moment later, perhaps.
func kill(t *testing.T, p *os.Process, inst instance.Instance) {
	t.Helper()
	require.NoError(t, p.Kill())
	_, err := p.Wait()
	require.NoError(t, err)
	state, err := inst.OpenState(false)
	require.NoError(t, err)
	defer state.Close()
	eventually(t, "nothing is held", func() bool {
		is, _ := Held(inst, state)
		return !is
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// stopped sends SIGSTOP and waits until it took.
func stopped(t *testing.T, p *os.Process) {
	t.Helper()
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	eventually(t, "the helper is stopped", func() bool {
		info, err := process.Stat(p.Pid)
		return err == nil && info.State == 'T'
	})
}

func greeting(inst instance.Instance) Hello {
	return Hello{Protocol: [2]int{MinProtocol, MaxProtocol}, Build: "test", Root: inst.Root, Pid: os.Getpid(), Client: "probe.test"}
}

// look probes and verifies that nothing on disk changed by that.
func look(t *testing.T, ctx context.Context, inst instance.Instance) Report {
	t.Helper()
	before := snapshot(t, inst.Root.Path)
	rep := Probe(ctx, inst, greeting(inst))
	require.Equal(t, before, snapshot(t, inst.Root.Path), "the probe changed something")
	return rep
}

// snapshot says everything about the files below dir that a probe could change.
func snapshot(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		var st unix.Stat_t
		if lerr := unix.Lstat(path, &st); lerr != nil {
			return lerr
		}
		all = append(all, fmt.Sprintf("%s ino %d mode %o uid %d nlink %d size %d mtime %v ctime %v", path, st.Ino, st.Mode, st.Uid, st.Nlink,
			st.Size, st.Mtim, st.Ctim))
		if err == nil && e.Type().IsRegular() {
			data, rerr := os.ReadFile(path)
			all = append(all, string(data))
			return rerr
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil // a test took the right away
		}
		return err
	}))
	return all
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
}

func needNoRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root is denied nothing: TestAsOrdinaryUser runs this")
	}
}

// TestAsOrdinaryUser runs the tests of this package once more as one.
func TestAsOrdinaryUser(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "hob-probe-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chown(dir, somebody, somebody))
	cmd := exec.Command(self, "-test.skip=^TestAsOrdinaryUser$", "-test.v")
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = dir
	cmd.SysProcAttr = asUser(somebody)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, strings.Contains(string(out), "--- PASS: TestDenied"), "%s", out)
}

func asUser(uid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}
