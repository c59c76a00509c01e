package upgrade

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const roleVar = "UPGRADE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		os.Exit(m.Run())
	case "tried":
		fmt.Println("hello, everybody")
		if !OnTrial(Report{Protocol: [2]int{1, 2}, Build: "v9", ID: "id"}) {
			os.Exit(9)
		}
	default:
		if err := generation(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
}

// state is what one program tells the next one.
type state struct {
	Generation int `json:"generation"`
	Pid        int `json:"pid"`
	Child      int `json:"child"`
}

// generation is a program that executes itself three times: with a socket, a pipe whose other end is a child's, and a number.
func generation() error {
	b, ok, err := Inherit()
	if err != nil {
		return err
	}
	var s state
	if ok {
		if err := json.Unmarshal(b.State, &s); err != nil {
			return err
		}
	} else if b.Files, s, err = origin(); err != nil {
		return err
	}
	if _, again, err := Inherit(); again || err != nil {
		return fmt.Errorf("inherited twice: %v", err)
	}
	for name, f := range b.Files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			return fmt.Errorf("%s would be inherited by a child: %v", name, err)
		}
	}
	s.Generation++
	fmt.Println("generation", s.Generation, "same process", s.Pid == os.Getpid(), "descriptors", descriptors())
	if s.Generation == 4 {
		return last(b.Files, s)
	}
	// One that can't be executed changes nothing.
	if b.State, err = json.Marshal(s); err != nil {
		return err
	}
	if err := Exec([]string{"/nonexistent"}, os.Environ(), b); err == nil {
		return fmt.Errorf("executed nothing")
	}
	if flags, err := unix.FcntlInt(b.Files["socket"].Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		return fmt.Errorf("after an exec that failed, the socket would be inherited by a child: %v", err)
	}
	return Exec([]string{"/proc/self/exe", "argument"}, os.Environ(), b)
}

func origin() (map[string]*os.File, state, error) {
	l, err := net.Listen("unix", filepath.Join(os.Getenv("UPGRADE_TEST_DIR"), "s"))
	if err != nil {
		return nil, state{}, err
	}
	socket, err := l.(*net.UnixListener).File()
	if err != nil {
		return nil, state{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, state{}, err
	}
	child := exec.Command("/bin/sh", "-c", "read line; echo \"child got $line\"; exit 7")
	child.Stdout = w
	in, err := child.StdinPipe()
	if err != nil {
		return nil, state{}, err
	}
	if err := child.Start(); err != nil {
		return nil, state{}, err
	}
	w.Close()
	stdin, err := unix.FcntlInt(in.(interface{ Fd() uintptr }).Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, state{}, err
	}
	files := map[string]*os.File{"socket": socket, "pipe": r, "stdin": os.NewFile(uintptr(stdin), "stdin")}
	return files, state{Pid: os.Getpid(), Child: child.Process.Pid}, nil
}

// last uses all that it has got.
func last(files map[string]*os.File, s state) error {
	fmt.Fprintln(files["stdin"], "word")
	line, err := bufio.NewReader(files["pipe"]).ReadString('\n')
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(s.Child, &status, 0, nil); err != nil {
		return err
	}
	fmt.Print(line, "exit ", status.ExitStatus(), "\n")
	l, err := net.FileListener(files["socket"])
	if err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, "served\n")
	return err
}

func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// TestExecKeepsWhatItIsGiven: pid, sockets, children, and whoever waits in a queue; and nothing is added with each time.
func TestExecKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"=generation", "UPGRADE_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewReader(out)
	next := func() string {
		line, err := lines.ReadString('\n')
		require.NoError(t, err, line)
		return strings.TrimSpace(line)
	}
	require.True(t, strings.HasPrefix(next(), "generation 1 same process true"))
	c, err := net.Dial("unix", filepath.Join(dir, "s")) // nobody accepts before the last generation
	require.NoError(t, err)
	defer c.Close()
	second := next()
	require.True(t, strings.HasPrefix(second, "generation 2 same process true"), second)
	require.Equal(t, strings.Replace(second, "2", "3", 1), next())
	require.Equal(t, strings.Replace(second, "2", "4", 1), next())
	require.Equal(t, "child got word", next())
	require.Equal(t, "exit 7", next())
	answer, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "served\n", answer)
	require.NoError(t, cmd.Wait())
}

// TestOfAnotherProcessNothingIsTaken: a variable that a child has inherited by mistake.
func TestOfAnotherProcessNothingIsTaken(t *testing.T) {
	t.Parallel()
	_, err := read([]byte(fmt.Sprintf(`{"format":1,"pid":%d,"files":{"a":400}}`, os.Getpid()+1)), os.Getpid())
	require.ErrorIs(t, err, errNotMine)
}

func script(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	// A child that has it open for writing, until its own exec, would have its exec fail with ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
	return path
}

// TestTrialSaysWhatIsWrong with each kind of broken program, and leaves none of them behind.
func TestTrialSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		argv []string
		want string
	}{
		"not there":        {[]string{"/nonexistent/hobd"}, "it can't be executed: .*no such file"},
		"not executable":   {[]string{script(t, "#!/bin/sh\n", 0o600)}, "it can't be executed: .*permission denied"},
		"no program":       {[]string{script(t, "\x7fELF nonsense", 0o700)}, "it can't be executed: .*exec format error"},
		"exits":            {[]string{script(t, "#!/bin/sh\necho one >&2; echo 'the library is missing' >&2; exit 5\n", 0o700)}, `it ended with exit 5: "the library is missing"`},
		"killed":           {[]string{script(t, "#!/bin/sh\nkill -SEGV $$\n", 0o700)}, `it ended with killed by SIGSEGV`},
		"says nothing":     {[]string{"/bin/true"}, "it is no such daemon"},
		"says something":   {[]string{"/bin/echo", "hello"}, `it is no such daemon: "hello"`},
		"says much":        {[]string{"/bin/sh", "-c", "yes | head -c 1000000"}, "it is no such daemon"},
		"another format":   {[]string{"/bin/echo", `{"format":99}`}, "it takes over format 99, not 1"},
		"says a lot there": {[]string{"/bin/echo", strings.Repeat("x", 300)}, "it is no such daemon: \"x{200}…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Trial(t.Context(), "/", c.argv, os.Environ())
			require.Error(t, err)
			require.Regexp(t, c.want, err.Error())
		})
	}
}

// TestTrialEndsWhatHangs when its time is over.
func TestTrialEndsWhatHangs(t *testing.T) {
	t.Parallel()
	pidfile := filepath.Join(t.TempDir(), "pid")
	path := script(t, "#!/bin/sh\necho $$ > "+pidfile+".new; mv "+pidfile+".new "+pidfile+"; exec sleep 600\n", 0o700)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		for {
			if _, err := os.Stat(pidfile); err == nil {
				cancel(context.DeadlineExceeded)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := Trial(ctx, "/", []string{path}, os.Environ())
	require.ErrorContains(t, err, "it did not say what it is within 10s")
	text, err := os.ReadFile(pidfile)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.ErrorIs(t, unix.Kill(pid, 0), unix.ESRCH)
}

// TestTrialWaitsForNoStranger: what a tried program has started may leave its tree and have its output for ever.
func TestTrialWaitsForNoStranger(t *testing.T) {
	t.Parallel()
	pidfile := filepath.Join(t.TempDir(), "pid")
	path := script(t, "#!/bin/sh\nsetsid sh -c 'env -i sleep 600 & echo $! > "+pidfile+"'\n", 0o700)
	_, err := Trial(t.Context(), "/", []string{path}, os.Environ())
	text, rerr := os.ReadFile(pidfile)
	require.NoError(t, rerr)
	pid, perr := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, perr)
	require.Greater(t, pid, 1)
	if unix.Kill(pid, 0) == nil {
		require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	} else {
		t.Log("it was found, and ended")
	}
	require.ErrorContains(t, err, "it is no such daemon")
}

// TestTrialOfAGoodProgram, which greets.
func TestTrialOfAGoodProgram(t *testing.T) {
	t.Parallel()
	r, err := Trial(t.Context(), "/", []string{os.Args[0]}, append(os.Environ(), roleVar+"=tried"))
	require.NoError(t, err)
	require.Equal(t, Report{Format: format, Protocol: [2]int{1, 2}, Build: "v9", ID: "id"}, r)
	require.False(t, OnTrial(Report{}))
}

// FuzzDecode: whatever is found at the descriptor, no descriptor of the process's own is taken for another one's, or twice.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":1,"pid":1,"files":{"lock":7,"guard":8},"state":{"a":1}}`))
	f.Add([]byte(`{"format":1,"files":{"a":0}}`))
	f.Add([]byte(`{"format":1,"files":{"a":9,"b":9}}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := decode(data)
		if err != nil {
			return
		}
		seen := map[int]bool{}
		for _, fd := range w.Files {
			if fd < 3 || seen[fd] {
				t.Fatalf("descriptor %d", fd)
			}
			seen[fd] = true
		}
		again, err := json.Marshal(w)
		require.NoError(t, err)
		w2, err := decode(again)
		require.NoError(t, err)
		require.Equal(t, len(w.Files), len(w2.Files))
	})
}
