package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
)

func (a *app) cmdDaemonLog() *cobra.Command {
	var follow bool
	var lines int
	c := a.verb("log [-f] [-n N]", "Show what hobd wrote about itself", none(func(ctx context.Context) error {
		if lines < 0 {
			return usage("", "daemon log -n %d: not a number of lines", lines)
		}
		return a.daemonLog(ctx, lines, follow)
	}))
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what it writes, until Ctrl-C")
	c.Flags().IntVarP(&lines, "lines", "n", defaultLines, "the last `N` lines")
	return c
}

func (a *app) daemonLog(ctx context.Context, lines int, follow bool) error {
	inst, err := a.instance()
	if err != nil {
		return err
	}
	path := inst.Path(instance.DaemonLog)
	f, err := openLogFile(path)
	if absent(err) && !follow {
		a.say("no log: hobd never ran for %s", inst.Root.Path)
		return nil
	}
	if err != nil && !absent(err) {
		return err
	}
	t := &logTail{path: path, f: f, w: bufio.NewWriter(a.stdout), s: sanitizer{colors: a.colored(), terminal: isTerminal(a.stdout)}}
	defer t.close()
	if err := t.begin(lines); err != nil || !follow {
		return errors.Join(err, t.w.Flush())
	}
	return a.watching(ctx, t.follow)
}

func openLogFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// logTail shows the end of one plain file.
type logTail struct {
	path string
	f    *os.File // nil while there is none
	w    *bufio.Writer
	s    sanitizer
	rest []byte // a line without its end
}

func (t *logTail) close() {
	if t.f != nil {
		_ = t.f.Close()
	}
}

// begin shows the last n lines.
func (t *logTail) begin(n int) error {
	if t.f == nil {
		return nil
	}
	at, err := lastLines(t.f, n)
	if err != nil {
		return err
	}
	if _, err := t.f.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if err := t.copy(); err != nil {
		return err
	}
	if len(t.rest) > 0 {
		return t.line(nil)
	}
	return nil
}

// lastLines finds where the last n lines of f begin.
func lastLines(f *os.File, n int) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return end, err
	}
	buf := make([]byte, 64<<10)
	for at := end; at > 0; {
		block := buf[:min(at, int64(len(buf)))]
		at -= int64(len(block))
		if _, err := f.ReadAt(block, at); errors.Is(err, io.EOF) {
			return 0, nil // it was emptied meanwhile
		} else if err != nil {
			return 0, err
		}
		for i := len(block) - 1; i >= 0; i-- {
			if block[i] != '\n' || at+int64(i) == end-1 {
				continue
			}
			if n--; n == 0 {
				return at + int64(i) + 1, nil
			}
		}
	}
	return 0, nil
}

// copy shows what there is up to the end of the file.
func (t *logTail) copy() error {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.f.Read(buf)
		for data := buf[:n]; len(data) > 0; {
			i := bytes.IndexByte(data, '\n')
			if i < 0 {
				t.rest = append(t.rest, data...)
				break
			}
			if err := t.line(data[:i]); err != nil {
				return err
			}
			data = data[i+1:]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *logTail) line(end []byte) error {
	line := t.s.line(nil, append(t.rest, end...), false)
	t.rest = t.rest[:0]
	_, err := t.w.Write(append(line, '\n'))
	return err
}

// follow looks every 200 ms: for more, and for another file under that name.
func (t *logTail) follow(ctx context.Context) error {
	for {
		if t.f != nil {
			if err := t.copy(); err != nil {
				return err
			}
		}
		if err := t.w.Flush(); err != nil {
			return err
		}
		if !pause(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
		if err := t.reopen(); err != nil {
			return err
		}
	}
}

// emptied goes back to the beginning of a file that is shorter than what was read of it.
func (t *logTail) emptied(size int64) error {
	at, err := t.f.Seek(0, io.SeekCurrent)
	if err == nil && at > size {
		t.rest = t.rest[:0]
		_, err = t.f.Seek(0, io.SeekStart)
	}
	return err
}

func (t *logTail) reopen() error {
	named, err := os.Lstat(t.path)
	if err != nil {
		return ignoreAbsent(err)
	}
	if t.f != nil {
		if open, err := t.f.Stat(); err == nil && os.SameFile(open, named) {
			return t.emptied(open.Size())
		}
		if err := t.copy(); err != nil {
			return err
		}
	}
	f, err := openLogFile(t.path)
	if err != nil {
		return ignoreAbsent(err)
	}
	t.close()
	t.f = f
	return nil
}
