package readiness

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/sdnotify"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
	"github.com/hobworks/hob/internal/sockets"
)

const okAnswer = "HTTP/1.1 200 OK\r\n\r\n"

// TestPauses: 20 ms doubling to half a second.
func TestPauses(t *testing.T) {
	var got []time.Duration
	for p := firstPause; len(got) < 7; p = nextPause(p) {
		got = append(got, p/time.Millisecond)
	}
	require.Equal(t, []time.Duration{20, 40, 80, 160, 320, 500, 500}, got)
}

func TestListenerOfTheTreeIsReady(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"listen", "child"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			addr := freeAddr(t)
			require.NoError(t, Taken(service.Readiness{TCP: addr}))
			p := start(t, how, addr, okAnswer)
			require.NoError(t, wait(t, service.Readiness{TCP: addr}, target(p)))
			require.NoError(t, wait(t, service.Readiness{HTTP: "http://" + addr + "/healthz?x=1"}, target(p)))
		})
	}
}

// TestSomebodyElsesAnswerIsNotReady, and the error says whose it is.
func TestSomebodyElsesAnswerIsNotReady(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	other := start(t, "listen", addr, okAnswer)
	answering(t, addr)
	_, port, _ := net.SplitHostPort(addr)
	want := fmt.Sprintf(`^port %s is held by \S+ \(pid %d\)$`, port, other.ID().Pid)
	for _, r := range []service.Readiness{{TCP: addr}, {HTTP: "http://" + addr}} {
		var taken *sockets.TakenError
		require.ErrorAs(t, Taken(r), &taken)
		require.Regexp(t, want, taken.Error())
		require.Equal(t, other.ID().Pid, taken.Holder.Pid)
		require.ErrorAs(t, wait(t, r, target(nil)), &taken)
		require.Regexp(t, want, taken.Error())
	}
	require.NoError(t, Taken(service.Readiness{Log: "x"}))
}

// notInTime is long enough for one whole try, of a few processes, and shorter than the longest that one may take.
const notInTime = 8 * time.Second

// TestTimeoutSaysWhatIsMissing in every way to be ready.
func TestTimeoutSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, log, out := logOf(t)
	_, err := out.WriteString("something else\n")
	require.NoError(t, err)
	closed, answers := freeAddr(t), freeAddr(t)
	p := start(t, "listen", answers, "HTTP/1.1 503 Busy\r\n\r\n")
	junk := freeAddr(t)
	q := start(t, "listen", junk, "220 smtp ready\r\n")
	answering(t, answers)
	answering(t, junk)
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	fd, err := os.OpenFile(fifo, os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer fd.Close()
	short, err := os.MkdirTemp("/tmp", "rd")
	require.NoError(t, err)
	defer os.RemoveAll(short)
	notify, err := sdnotify.Listen(filepath.Join(short, "web"))
	require.NoError(t, err)
	defer notify.Close()
	cases := map[string]struct {
		r    service.Readiness
		t    Target
		want string
	}{
		"log":       {service.Readiness{Log: "^ready$"}, Target{Log: log}, `no line of its log matched /\^ready\$/`},
		"tcp":       {service.Readiness{TCP: closed}, target(nil), closed + " does not accept connections"},
		"http":      {service.Readiness{HTTP: "http://" + closed + "/x"}, target(nil), closed + " does not accept connections"},
		"503":       {service.Readiness{HTTP: "http://" + answers + "/x"}, target(p), `GET http://\S+/x answered 503`},
		"no HTTP":   {service.Readiness{HTTP: "http://" + junk}, target(q), `GET \S+: it answered something that is not HTTP`},
		"exec":      {service.Readiness{Exec: []string{"sh", "-c", "echo not yet; exit 3"}}, target(nil), "the check: exit 3: not yet"},
		"exec hang": {service.Readiness{Exec: []string{"sleep", "1000"}}, target(nil), "the check has not ended yet"},
		"no exec":   {service.Readiness{Exec: []string{"no-such-check"}}, target(nil), "the check: .*no-such-check"},
		"fd":        {service.Readiness{FD: 5}, Target{FD: fd}, "it wrote no newline to descriptor 5"},
		"notify":    {service.Readiness{Notify: true}, Target{Notify: notify}, "it did not notify"},
	}
	var mu sync.Mutex
	ended := map[string]error{}
	var all sync.WaitGroup
	for name, c := range cases { // all at once, however few processors there are
		all.Go(func() {
			c.r.Timeout = notInTime
			err := wait(t, c.r, c.t)
			mu.Lock()
			defer mu.Unlock()
			ended[name] = err
		})
	}
	all.Wait()
	for name, c := range cases {
		var late *TimeoutError
		require.ErrorAs(t, ended[name], &late, name)
		require.Regexp(t, "^not ready after "+notInTime.String()+": "+c.want, late.Error(), name)
	}
}

// TestLineOfThisRunOnly: what an earlier run wrote does not count, what this one wrote before anybody looked does.
func TestLineOfThisRunOnly(t *testing.T) {
	t.Parallel()
	w, log, out := logOf(t)
	_, err := out.WriteString("ready\n")
	require.NoError(t, err)
	require.NoError(t, w.Drain(t.Context()))
	from := w.Position()
	require.Error(t, wait(t, service.Readiness{Log: "^ready$", Timeout: 200 * time.Millisecond}, Target{Log: log, From: from}))
	require.NoError(t, wait(t, service.Readiness{Log: "^ready$"}, Target{Log: log, From: servicelog.Position{}}))
	_, err = out.WriteString("not\nready\n")
	require.NoError(t, err)
	require.NoError(t, wait(t, service.Readiness{Log: "^ready$"}, Target{Log: log, From: from}))
}

// TestLineThatComesInParts: a prompt is looked at before it has its end, and again with what follows.
func TestLineThatComesInParts(t *testing.T) {
	t.Parallel()
	_, log, out := logOf(t)
	_, err := out.WriteString("Starting ... ")
	require.NoError(t, err)
	require.NoError(t, wait(t, service.Readiness{Log: "Starting"}, Target{Log: log}))
	r, err := servicelog.NewReader(log)
	require.NoError(t, err)
	defer r.Close()
	ready := make(chan error, 1)
	go func() { ready <- wait(t, service.Readiness{Log: "^Starting.*done$"}, Target{Log: log}) }()
	part, err := r.Follow(t.Context()) // it has seen the silence that makes a part
	require.NoError(t, err)
	require.True(t, part.Partial)
	_, err = out.WriteString("done\n")
	require.NoError(t, err)
	require.NoError(t, <-ready)
}

func TestNewlineOnTheDescriptor(t *testing.T) {
	t.Parallel()
	for text, ready := range map[string]bool{"\n": true, "ok\nmore": true, "ok": false, "": false} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		_, err = w.WriteString(text)
		require.NoError(t, err)
		w.Close()
		err = wait(t, service.Readiness{FD: 3}, Target{FD: r})
		require.Equal(t, ready, err == nil, "%q: %v", text, err)
		if !ready {
			require.ErrorIs(t, err, errClosed)
		}
		r.Close()
	}
}

// TestNotifyExtendsTheTimeout: who says that it takes longer has longer.
func TestNotifyExtendsTheTimeout(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "rd")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	s, err := sdnotify.Listen(filepath.Join(dir, "web"))
	require.NoError(t, err)
	defer s.Close()
	said := make(chan string, 10)
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		done <- Wait(ctx, service.Readiness{Notify: true, Timeout: 15 * time.Second}, Target{Notify: s}, func(text string) { said <- text })
	}()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.Addr(), Net: "unixgram"})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=loading"))
	require.NoError(t, err)
	select {
	case text := <-said:
		require.Equal(t, "loading", text)
	case err := <-done:
		t.Fatalf("it ended: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("it ended: %v", err)
	case <-time.After(15500 * time.Millisecond): // the old time-out is over
	}
	_, err = c.Write([]byte("READY=1"))
	require.NoError(t, err)
	require.NoError(t, <-done)
}

// TestExecChecksLeaveNothing: no process, also of a check that hangs and has children.
func TestExecChecksLeaveNothing(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	check := []string{"sh", "-c", "echo $$ >>" + pids + "; sleep 1000 & echo $! >>" + pids + "; wait"}
	require.Error(t, wait(t, service.Readiness{Exec: check, Timeout: notInTime}, target(nil)))
	text, err := os.ReadFile(pids)
	require.NoError(t, err)
	var pid int
	for n := 0; n < len(text); {
		read, err := fmt.Sscan(string(text[n:]), &pid)
		if err != nil || read == 0 {
			break
		}
		n += len(fmt.Sprintln(pid))
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil {
			require.Contains(t, string(stat), ") Z ", "pid %d", pid)
		}
	}
	require.NotZero(t, pid)
	require.NoError(t, wait(t, service.Readiness{Exec: []string{"sh", "-c", "exit 0"}}, target(nil)))
}

// TestEndOfTheContextEndsTheWait and leaves no goroutine.
func TestEndOfTheContextEndsTheWait(t *testing.T) {
	_, log, _ := logOf(t)
	ignore := goleak.IgnoreCurrent()
	for _, r := range []service.Readiness{{TCP: freeAddr(t)}, {HTTP: "http://" + freeAddr(t)}, {Exec: []string{"sleep", "1000"}}, {Log: "never"}} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		tg := target(nil)
		tg.Log = log
		require.ErrorIs(t, Wait(ctx, r, tg, nil), context.Canceled)
	}
	goleak.VerifyNone(t, ignore)
}

// TestStatusLines: what is an answer, and what is none.
func TestStatusLines(t *testing.T) {
	for text, want := range map[string]int{
		"HTTP/1.1 200 OK\r\n": 200, "HTTP/1.0 302 Found\r\nLocation: x\r\n": 302, "HTTP/1.1 204\r\n": 204, "HTTP/1.1 503 x\r\n": 503,
		"": 0, "HTTP/2 200\r\n": 0, "HTTP/1.1 abc\r\n": 0, "HTTP/1.1 20\r\n": 0, "SSH-2.0-x\r\n": 0, "HTTP/1.1 999 x\r\n": 0,
	} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		_, err = w.WriteString(text)
		require.NoError(t, err)
		w.Close()
		got, err := statusCode(r)
		require.Equal(t, want, got, text)
		require.Equal(t, want == 0, err != nil, text)
		r.Close()
	}
}
