package client

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hobworks/hob/internal/api"
)

// outcome says in words what became of a service.
func outcome(s api.Service) string {
	var b strings.Builder
	b.WriteString(s.State)
	switch {
	case s.Pid != 0 && s.State != "stopped" && s.State != "done" && s.State != "failed":
		fmt.Fprintf(&b, " (pid %d)", s.Pid)
	case len(s.Killed) > 0:
		fmt.Fprintf(&b, "; had to kill %s", processes(s.Killed))
	case s.Why != "":
		fmt.Fprintf(&b, " (%s)", s.Why)
	}
	if s.Unsaved != "" {
		fmt.Fprintf(&b, "; %s%s", notSaved, s.Unsaved)
	}
	return b.String()
}

// notSaved begins what is said of a state that is not on disk: the next hobd would not know it.
const notSaved = "not saved: "

// why is what the table has to say of a service.
func why(s api.Service) string {
	switch {
	case s.Unsaved == "":
		return s.Why
	case s.Why == "":
		return notSaved + s.Unsaved
	}
	return s.Why + "; " + notSaved + s.Unsaved
}

func processes(pids []int) string {
	if len(pids) == 1 {
		return fmt.Sprintf("1 process (pid %d)", pids[0])
	}
	return fmt.Sprintf("%d processes (pids %s)", len(pids), join(pids, ", "))
}

func join(pids []int, sep string) string {
	texts := make([]string, len(pids))
	for i, pid := range pids {
		texts[i] = strconv.Itoa(pid)
	}
	return strings.Join(texts, sep)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// span shows a duration in its two largest units.
func span(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case s < 0:
		return "0s"
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%dh", s/86400, s/3600%24)
}

// ago shows a time of the past, to a person here.
func ago(t time.Time) string {
	return t.Local().Format(time.DateTime) + " (" + span(time.Since(t)) + " ago)"
}

// size shows bytes in three figures or four.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f := float64(n)
	unit := -1
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	if f < 10 {
		return fmt.Sprintf("%.1f%c", f, units[unit])
	}
	return fmt.Sprintf("%.0f%c", f, units[unit])
}

// sizeAsWritten shows a size in the unit that it is a multiple of, as a file would have it.
func sizeAsWritten(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GB", 1e9}, {"GiB", 1 << 30}, {"MB", 1e6}, {"MiB", 1 << 20}, {"KB", 1e3}, {"KiB", 1 << 10}} {
		if n > 0 && n%unit.size == 0 {
			return fmt.Sprintf("%d%s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// quote shows a command as it could be typed into a shell.
func quote(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = arg
		if arg == "" || strings.Trim(arg, bare) != "" {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,"
