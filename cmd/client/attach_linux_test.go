package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// fakeSession remembers what it is told.
type fakeSession struct {
	answer func() error // of Input; nil: it takes everything

	mu    sync.Mutex
	input []byte
	sizes [][2]int
}

func (s *fakeSession) Input(p []byte) error {
	s.mu.Lock()
	s.input = append(s.input, p...)
	s.mu.Unlock()
	if s.answer != nil {
		return s.answer()
	}
	return nil
}

func (s *fakeSession) Resize(rows, cols int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes = append(s.sizes, [2]int{rows, cols})
	return nil
}

func (s *fakeSession) typed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.input)
}

func (s *fakeSession) size() (last [2]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sizes) > 0 {
		last = s.sizes[len(s.sizes)-1]
	}
	return last
}

// person sits at a terminal on which attach runs.
type person struct {
	t      *testing.T
	hands  *os.File // the terminal's other side
	tty    *os.File
	s      *fakeSession
	output chan []byte
	end    context.CancelFunc
	before unix.Termios
	leaks  goleak.Option
	result chan attachResult
}

type attachResult struct {
	detached bool
	err      error
}

func newPerson(t *testing.T, s *fakeSession) *person {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	hands, tty, err := pty.Open()
	require.NoError(t, err)
	t.Cleanup(func() { hands.Close(); tty.Close() })
	p := &person{t: t, hands: hands, tty: tty, s: s, output: make(chan []byte), result: make(chan attachResult, 1), leaks: leaks}
	p.resize(30, 90)
	p.before = p.termios()
	return p
}

// attach runs attach with in, or the terminal where that is nil.
func (p *person) attach(in *os.File) {
	ctx, cancel := context.WithCancel(p.t.Context())
	p.end = cancel
	if in == nil {
		in = p.tty
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		detached, err := attachTerminal(ctx, in, p.tty, p.s, p.output)
		p.result <- attachResult{detached, err}
	}()
	p.t.Cleanup(func() { cancel(); <-done })
	p.eventually(func() bool { return p.s.size() == [2]int{30, 90} }, "the size")
	if in == p.tty {
		p.eventually(p.raw, "raw mode")
	}
}

func (p *person) termios() unix.Termios {
	p.t.Helper()
	t, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
	require.NoError(p.t, err)
	return *t
}

func (p *person) raw() bool {
	t := p.termios()
	return t.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG|unix.IEXTEN) == 0 && t.Oflag&unix.OPOST == 0 && t.Iflag&(unix.ICRNL|unix.IXON) == 0
}

func (p *person) resize(rows, cols uint16) {
	require.NoError(p.t, pty.Setsize(p.hands, &pty.Winsize{Rows: rows, Cols: cols}))
}

func (p *person) types(keys string) {
	p.t.Helper()
	_, err := p.hands.WriteString(keys)
	require.NoError(p.t, err)
}

func (p *person) shows(text string) {
	p.t.Helper()
	select {
	case p.output <- []byte(text):
	case <-time.After(patience):
		require.FailNow(p.t, "nobody shows it")
	}
}

func (p *person) sees(text string) {
	p.t.Helper()
	got := make([]byte, len(text))
	for n := 0; n < len(text); {
		k, err := p.hands.Read(got[n:])
		require.NoError(p.t, err)
		n += k
	}
	require.Equal(p.t, text, string(got))
}

func (p *person) eventually(ok func() bool, what string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		require.True(p.t, time.Now().Before(deadline), "never came: %s", what)
	}
}

func (p *person) ends() attachResult {
	p.t.Helper()
	select {
	case r := <-p.result:
		return r
	case <-time.After(patience):
		require.FailNow(p.t, "attach does not end")
		return attachResult{}
	}
}

func kill(t *testing.T, sig unix.Signal) { require.NoError(t, unix.Kill(os.Getpid(), sig)) }

func TestTerminalIsRestoredOnEveryWayOut(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		how  func(p *person)
		want attachResult
	}{
		"detach":      {func(p *person) { p.types("\x1c\x1c") }, attachResult{true, nil}},
		"end":         {func(p *person) { close(p.output) }, attachResult{false, nil}},
		"context":     {func(p *person) { p.end() }, attachResult{false, context.Canceled}},
		"TERM":        {func(*person) { kill(t, unix.SIGTERM) }, attachResult{false, status(143)}},
		"HUP":         {func(*person) { kill(t, unix.SIGHUP) }, attachResult{false, status(129)}},
		"refused":     {func(p *person) { p.types("x") }, attachResult{false, refused}},
		"refused end": {func(p *person) { p.types("y") }, attachResult{false, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "HUP" && signal.Ignored(unix.SIGHUP) {
				t.Skip("whoever runs the tests has it ignored, nohup(1), and so has attach")
			}
			p := newPerson(t, &fakeSession{})
			p.s.answer = func() error {
				if p.s.typed() == "y" {
					close(p.output) // its service has ended
				}
				return refused
			}
			p.attach(nil)
			c.how(p)
			require.Equal(t, c.want, p.ends())
			require.Equal(t, p.before, p.termios())
			goleak.VerifyNone(t, p.leaks) // nobody takes what is typed now
		})
	}
}

func TestKeysAndOutputPassAsTheyAre(t *testing.T) {
	p := newPerson(t, &fakeSession{})
	p.attach(nil)
	keys := "ab\r\x03\x04\x13\x1a\x1cx\xff\x1b[A"
	p.types(keys)
	p.eventually(func() bool { return p.s.typed() == keys }, "the keys")
	p.shows("one\ntwo\x1b[31m\r")
	p.shows("\x00\xff")
	p.sees("one\ntwo\x1b[31m\r\x00\xff")
	p.types("last\x1c\x1cnot this")
	require.Equal(t, attachResult{true, nil}, p.ends())
	require.Equal(t, keys+"last", p.s.typed())
}

func TestKeysToDetachMayComeOneByOne(t *testing.T) {
	p := newPerson(t, &fakeSession{})
	p.attach(nil)
	p.types("a\x1c")
	p.eventually(func() bool { return p.s.typed() == "a" }, "the first key alone")
	require.Empty(t, p.result)
	p.types("\x1c")
	require.Equal(t, attachResult{true, nil}, p.ends())
	require.Equal(t, "a", p.s.typed())
}

func TestNewSizeIsToldTheSession(t *testing.T) {
	p := newPerson(t, &fakeSession{})
	p.attach(nil)
	for i := range uint16(3) {
		p.resize(50+i, 200)
		kill(t, unix.SIGWINCH)
		p.eventually(func() bool { return p.s.size() == [2]int{50 + int(i), 200} }, fmt.Sprint("size ", i))
	}
}

// TestRawAgainAfterAStop: the shell that has the terminal meanwhile makes it what it likes.
func TestRawAgainAfterAStop(t *testing.T) {
	p := newPerson(t, &fakeSession{})
	p.attach(nil)
	require.NoError(t, unix.IoctlSetTermios(int(p.tty.Fd()), unix.TCSETS, &p.before))
	kill(t, unix.SIGCONT)
	p.eventually(p.raw, "raw mode")
	p.types("\x1c\x1c")
	require.True(t, p.ends().detached)
	require.Equal(t, p.before, p.termios())
}

func TestInputThatIsNoTerminalPassesAndMayEnd(t *testing.T) {
	p := newPerson(t, &fakeSession{})
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	p.attach(r)
	const text = "a\x1c\x1cb\n\x1c"
	_, err = w.WriteString(text)
	require.NoError(t, err)
	p.eventually(func() bool { return p.s.typed() == text }, "the input")
	require.NoError(t, w.Close())
	p.shows("still here\n")
	p.sees("still here\r\n") // not raw
	require.Equal(t, p.before, p.termios())
	require.Empty(t, p.result)
	close(p.output)
	require.Equal(t, attachResult{false, nil}, p.ends())
}

// TestWhatWasTypedIsSentBeforeDetaching, also to a session that takes a moment.
func TestWhatWasTypedIsSentBeforeDetaching(t *testing.T) {
	s := &fakeSession{answer: func() error { time.Sleep(time.Millisecond); return nil }}
	a := &attachment{session: s, keys: make(chan []byte, queued), gone: make(chan struct{}), typed: make(chan error, 1), sent: make(chan error, 1)}
	const keys = "0123456789"
	for _, k := range []byte(keys) {
		a.pass([]byte{k})
	}
	a.typed <- errDetached
	a.aside(func() { a.sent <- a.send() })
	require.ErrorIs(t, a.wait(t.Context()), errDetached)
	close(a.gone)
	a.leave()
	require.Equal(t, keys, s.typed())
}

// TestLatestSizeCounts where the session was not told the one before.
func TestLatestSizeCounts(t *testing.T) {
	p := newPerson(t, nil)
	a := &attachment{in: p.tty, out: p.tty, sizes: make(chan [2]int, 1)}
	a.resize()
	p.resize(31, 91)
	a.resize()
	require.Equal(t, [2]int{31, 91}, <-a.sizes)
}

// TestHangingSessionKeepsNobody who wants to leave.
func TestHangingSessionKeepsNobody(t *testing.T) {
	hang := make(chan struct{})
	p := newPerson(t, &fakeSession{answer: func() error { <-hang; return nil }})
	t.Cleanup(func() { close(hang) })
	p.attach(nil)
	p.types("x")
	p.eventually(func() bool { return p.s.typed() == "x" }, "the first key")
	p.types("y\x1c\x1c")
	require.Equal(t, attachResult{true, nil}, p.ends())
	require.Equal(t, p.before, p.termios())
}

func TestTerminalThatHangsUpEndsIt(t *testing.T) {
	p := newPerson(t, &fakeSession{})
	p.attach(nil)
	require.NoError(t, p.hands.Close())
	r := p.ends()
	require.False(t, r.detached)
	require.ErrorContains(t, r.err, "read the terminal: ")
}
