package client

import (
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

// colored decides whether to colour stdout: --color, then NO_COLOR, then FORCE_COLOR, then
// whether it is a terminal that can (no-color.org).
func (a *app) colored() bool {
	switch {
	case a.color == "always":
		return true
	case a.color == "never" || os.Getenv("NO_COLOR") != "":
		return false
	case wanted("FORCE_COLOR"):
		return true
	}
	return isTerminal(a.stdout) && os.Getenv("TERM") != "dumb"
}

// style is a way to show text on a terminal: the parameters of SGR.
type style string

const (
	plain  style = ""
	green  style = "32"
	yellow style = "33"
	red    style = "31"
	dim    style = "2"
)

// stateStyle is the colour of a service's or a daemon's state.
func stateStyle(state string) style {
	switch state {
	case "running", "done", "ready":
		return green
	case "starting", "unready", "waiting", "backoff", "stopping", "draining", "busy":
		return yellow
	case "failed", "unresponsive", "foreign", "denied", "skewed", "unknown", "collision":
		return red
	}
	return dim
}

func (s style) paint(text string) string {
	if s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// hungUp calls f once nobody can read w any more, where w is a pipe. It is for commands that may
// be silent for long: writing would tell the others.
func hungUp(w io.Writer, f func()) {
	out, ok := w.(*os.File)
	if !ok {
		return
	}
	if fi, err := out.Stat(); err != nil || fi.Mode()&fs.ModeNamedPipe == 0 {
		return
	}
	fd := int32(out.Fd())
	go func() {
		for {
			p := []unix.PollFd{{Fd: fd}} // POLLERR needs no asking for: poll(2)
			_, err := unix.Poll(p, -1)
			if err == unix.EINTR {
				continue
			}
			if err == nil && p[0].Revents&unix.POLLERR != 0 {
				f()
			}
			return
		}
	}()
}
