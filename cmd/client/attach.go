package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// session is a service's terminal as attach sees it. One call is under way at a time, aside: one that takes long
// does not keep a person from detaching.
type session interface {
	Input(p []byte) error // keeps nothing of p
	Resize(rows, cols int) error
}

// leaveTaking is how long attach waits, when it ends, for a session or a terminal that does not answer.
const leaveTaking = time.Second

// queued is how many reads of what was typed may wait for the session. A person who types more must wait to detach.
const queued = 1024

// attachTerminal joins in and out, a terminal, to a service's until output is closed, the person detaches by Ctrl-\ typed twice,
// ctx ends, or something fails. in is raw meanwhile, and as it was when attachTerminal returns; so it is when a
// signal ends it, and then the error is a status of 128 and the signal's number. The session is told the size at the beginning and when it changes.
//
// Where in is no terminal, its bytes are passed on as they are, and its end is the end of the input alone.
//
// A session that refuses something has ended, so its output may end within a second, which is no error; else it is. When attachTerminal
// returns, a call of s that takes longer than a second may still be under way, and output is read no more. Nothing is closed.
func attachTerminal(ctx context.Context, in, out *os.File, s session, output <-chan []byte) (detached bool, err error) {
	signals := make(chan os.Signal, 16)
	heed(signals, unix.SIGWINCH, unix.SIGCONT, unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	defer signal.Stop(signals)
	raw, err := makeRaw(in)
	if err != nil {
		return false, err
	}
	defer raw.restore()
	keys, err := newKeyboard(in, raw != nil)
	if err != nil {
		return false, err
	}
	a := &attachment{
		in: in, out: out, session: s, raw: raw, signals: signals,
		keys: make(chan []byte, queued), sizes: make(chan [2]int, 1), gone: make(chan struct{}),
		typed: make(chan error, 1), sent: make(chan error, 1), shown: make(chan error, 1),
	}
	a.resize()
	a.aside(func() { a.typed <- keys.read(a.pass) })
	a.aside(func() { a.sent <- a.send() })
	a.aside(func() { a.shown <- a.show(output) })
	err = a.wait(ctx)
	_ = keys.stop.Close()
	close(a.gone)
	a.leave()
	if errors.Is(err, errDetached) {
		return true, nil
	}
	return false, err
}

// heed is signal.Notify for those that whoever started hob does not want ignored: nohup(1), and the "&" of a shell without job control.
func heed(c chan<- os.Signal, signals ...os.Signal) {
	if signals = slices.DeleteFunc(signals, signal.Ignored); len(signals) > 0 { // none would mean all
		signal.Notify(c, signals...)
	}
}

// attachment is what the goroutines of attachTerminal share.
type attachment struct {
	in, out *os.File
	session session
	raw     *rawTerminal // nil: in is no terminal
	signals <-chan os.Signal

	keys  chan []byte // closed: nothing follows
	sizes chan [2]int // the latest
	gone  chan struct{}

	typed, sent, shown chan error // why each of the three has ended
	running            sync.WaitGroup
}

func (a *attachment) aside(f func()) { a.running.Go(f) }

// wait returns why it is over: nil, because the output has ended.
func (a *attachment) wait(ctx context.Context) (err error) {
	var refused error
	var late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case sig := <-a.signals:
			if sig != unix.SIGWINCH && sig != unix.SIGCONT {
				return status(128 + int(sig.(syscall.Signal)))
			}
			if sig == unix.SIGCONT {
				_ = a.raw.enter() // the shell has made it what that wants
			}
			a.resize()
		case err = <-a.shown:
			return err
		case err = <-a.typed:
			if err == nil {
				continue
			}
			if errors.Is(err, errDetached) && refused == nil {
				a.flush()
			}
			return err
		case refused = <-a.sent:
			late = time.After(leaveTaking)
		case <-late:
			return refused
		}
	}
}

// resize has the session told the size. One that it was not told yet is out of date.
func (a *attachment) resize() {
	rows, cols, ok := terminalSize(a.out, a.in)
	if !ok {
		return
	}
	select {
	case <-a.sizes:
	default:
	}
	a.sizes <- [2]int{rows, cols}
}

// pass has the session given what was typed.
func (a *attachment) pass(p []byte) {
	select {
	case a.keys <- p:
	case <-a.gone:
	}
}

// flush has the session given what was typed before the person detached.
func (a *attachment) flush() {
	close(a.keys)
	select {
	case <-a.sent:
	case <-time.After(leaveTaking):
	}
}

// send calls the session until nothing follows, or it refuses something.
func (a *attachment) send() error {
	for {
		var err error
		select {
		case <-a.gone:
			return nil
		case size := <-a.sizes:
			err = a.session.Resize(size[0], size[1])
		case p, more := <-a.keys:
			if !more {
				return nil
			}
			err = a.session.Input(p)
		}
		if err != nil {
			return err
		}
	}
}

// show writes the output until that ends.
func (a *attachment) show(output <-chan []byte) error {
	for {
		select {
		case <-a.gone:
			return nil
		case p, more := <-output:
			if !more {
				return nil
			}
			if _, err := a.out.Write(p); err != nil {
				return fmt.Errorf("write to the terminal: %w", err)
			}
		}
	}
}

// leave waits for the others, but not for one that hangs.
func (a *attachment) leave() {
	done := make(chan struct{})
	go func() { a.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(leaveTaking):
	}
}
