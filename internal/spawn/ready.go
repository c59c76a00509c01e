package spawn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/process"
)

// Message is one line of the readiness channel: the daemon writes progress any number of times,
// then ready or error. After ready the channel is the first connection to the daemon.
type Message struct {
	Progress *Progress `json:"progress,omitempty"`
	Ready    *Ready    `json:"ready,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}

// Progress extends the starter's patience.
type Progress struct {
	Stage string `json:"stage"`
}

// Ready says that the daemon serves.
type Ready struct {
	Pid int `json:"pid"`
}

// Error says why the daemon does not come up.
type Error struct {
	Stage   string `json:"stage"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// CodeTerminated is the code of a start that was ended by a signal or a stop: nobody's fault,
// so it is not counted.
const CodeTerminated = "terminated"

// ErrTerminated is what such a start ends with.
var ErrTerminated = errors.New(CodeTerminated)

// Report writes m to the readiness channel. A starter that is gone is no error.
func Report(c net.Conn, m Message) {
	if c == nil {
		return
	}
	line, err := json.Marshal(m)
	if err != nil {
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Write(append(line, '\n'))
	_ = c.SetWriteDeadline(time.Time{})
}

// ErrorOf makes the message of a start that failed at stage.
func ErrorOf(stage string, err error) Message {
	return Message{Error: &Error{Stage: stage, Code: code(err), Message: err.Error()}}
}

// Patience is how long a daemon may take to start, counted anew at each progress.
const Patience = 30 * time.Second

// maxLine is the longest line that is read from the channel.
const maxLine = 16 << 10

var errLine = fmt.Errorf("a line of more than %d bytes", maxLine)

// ErrPatience says that a daemon neither came up nor failed in time.
var ErrPatience = errors.New("no word from the daemon in time")

// awaited is a daemon that was started and has not said anything final yet.
type awaited struct {
	conn     net.Conn
	proc     *os.Process
	log      *os.File
	mark     int64 // where the log ended before
	progress func(string)
}

// wait reads the channel to its end; nil means ready.
func (a *awaited) wait(ctx context.Context, rec *lock.Record) *Failure {
	stop := context.AfterFunc(ctx, func() { _ = a.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		_ = a.conn.SetReadDeadline(time.Now().Add(Patience))
		// After, not before: else ctx could end in between, and this deadline would replace the
		// one that stop's function has set.
		if ctx.Err() != nil {
			_ = a.conn.SetReadDeadline(time.Unix(1, 0))
		}
		line, err := a.line()
		if errors.Is(err, errLine) {
			return a.nonsense(rec, line)
		}
		if err != nil {
			return a.ended(ctx, rec, line, err)
		}
		var m Message
		if json.Unmarshal(line, &m) != nil || m == (Message{}) {
			return a.nonsense(rec, line)
		}
		switch {
		case m.Ready != nil:
			_ = a.conn.SetReadDeadline(time.Time{})
			// A client that lives long must not keep the daemon as a zombie when it ends.
			go a.proc.Wait()
			return nil
		case m.Error != nil:
			a.conn.Close()
			go a.proc.Wait()
			rec.Fail(m.Error.Stage, m.Error.Code, m.Error.Message, m.Error.Code != CodeTerminated)
			return &Failure{Record: *rec}
		case a.progress != nil:
			a.progress(m.Progress.Stage)
		}
	}
}

// lastLook is what a look at what lies there already may take.
const lastLook = 100 * time.Millisecond

// line is the next one. When the time is over it looks once more: this process may have been stopped meanwhile, as by Ctrl-Z, and what was said to it
// lies there.
func (a *awaited) line() ([]byte, error) {
	line, err := readLine(a.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		var rest []byte
		_ = a.conn.SetReadDeadline(time.Now().Add(lastLook))
		rest, err = readLine(a.conn)
		line = append(line, rest...)
	}
	return line, err
}

// readLine reads byte by byte: what follows the line of ready belongs to the connection.
func readLine(r io.Reader) ([]byte, error) {
	var line []byte
	var b [1]byte
	for len(line) < maxLine {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return line, err
		}
		if b[0] == '\n' {
			return line, nil
		}
		line = append(line, b[0])
	}
	return line, errLine
}

// ended explains a channel that ended, or the end of patience.
func (a *awaited) ended(ctx context.Context, rec *lock.Record, line []byte, err error) *Failure {
	defer a.conn.Close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		cause := error(ErrPatience)
		if ctx.Err() != nil {
			cause = ctx.Err()
		}
		go a.proc.Wait()
		// Not recorded: it may still come up, and its lock speaks for it.
		return &Failure{Record: lock.Record{Stage: "wait for ready", Code: "timeout",
			Message: fmt.Sprintf("hobd (pid %d) is still starting", a.proc.Pid)}, Err: cause}
	}
	state := a.exited()
	why, signalled := exitWords(state)
	if len(line) > 0 {
		why += fmt.Sprintf(", having said %q", clip(line))
	}
	if tail := a.written(); tail != "" {
		why += ": " + tail
	}
	rec.Fail("start", "exited", fmt.Sprintf("hobd (pid %d) %s", a.proc.Pid, why), !signalled || fault.Mutant("a daemon that was killed counts as one that failed"))
	return &Failure{Record: *rec}
}

func (a *awaited) nonsense(rec *lock.Record, line []byte) *Failure {
	defer a.conn.Close()
	go a.proc.Wait()
	rec.Fail("start", "nonsense", fmt.Sprintf("hobd (pid %d) said %q instead of ready: is that program a hobd?",
		a.proc.Pid, clip(line)), true)
	return &Failure{Record: *rec}
}

// exited waits a moment for the process whose channel ended: nil means that it lives on.
func (a *awaited) exited() *os.ProcessState {
	c := make(chan *os.ProcessState, 1)
	go func() {
		state, _ := a.proc.Wait()
		c <- state
	}()
	limit := time.After(Patience)
	for {
		select {
		case state := <-c:
			return state
		case <-time.After(time.Second):
			if info, err := process.Stat(a.proc.Pid); err == nil && info.State != 'Z' {
				return nil
			}
			// It is ending, with a thread that was not let yet.
		case <-limit:
			return nil
		}
	}
}

func exitWords(state *os.ProcessState) (why string, signalled bool) {
	if state == nil {
		return "closed the readiness channel and lives on", false
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return "was killed by " + unix.SignalName(ws.Signal()), true
	}
	return fmt.Sprintf("ended with exit status %d before it was ready", state.ExitCode()), false
}

// written is what the daemon wrote to its log since it was started: a panic's first lines, else
// the last of it.
func (a *awaited) written() string {
	fi, err := a.log.Stat()
	if err != nil || fi.Size() <= a.mark {
		return ""
	}
	buf := make([]byte, min(fi.Size()-a.mark, 64<<10))
	n, _ := a.log.ReadAt(buf, fi.Size()-int64(len(buf)))
	text := string(bytes.ToValidUTF8(buf[:n], []byte("?")))
	for _, word := range []string{"panic: ", "fatal error: "} {
		if i := strings.Index(text, word); i >= 0 {
			first, _, _ := strings.Cut(text[i:], "\n\n")
			return strings.TrimSpace(first[:min(len(first), 600)])
		}
	}
	return strings.TrimSpace(text[max(0, len(text)-lock.MaxMessage/2):])
}

func clip(line []byte) string {
	if len(line) > 200 {
		line = line[:200]
	}
	return string(line)
}
