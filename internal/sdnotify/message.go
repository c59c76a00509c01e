package sdnotify

import (
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Message is what one datagram says. What it does not say is zero; what is not known to this package is left out.
type Message struct {
	Ready     bool
	Reloading bool
	Stopping  bool
	Status    string        // STATUS=, one line, printable, at most maxStatus bytes
	Extend    time.Duration // EXTEND_TIMEOUT_USEC=: so long from now, the time-out does not count
}

// maxStatus bounds what a service may say about itself in one message.
const maxStatus = 1024

// maxExtend is the longest EXTEND_TIMEOUT_USEC that is taken: a longer one is a mistake.
const maxExtend = 24 * time.Hour

// Parse reads the assignments of a datagram, one a line. It never fails: what is no assignment says nothing.
func Parse(datagram []byte) Message {
	var m Message
	for line := range strings.SplitSeq(string(datagram), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "READY":
			m.Ready = m.Ready || value == "1"
		case "RELOADING":
			m.Reloading = m.Reloading || value == "1"
		case "STOPPING":
			m.Stopping = m.Stopping || value == "1"
		case "STATUS":
			m.Status = printable(value)
		case "EXTEND_TIMEOUT_USEC":
			if usec, err := strconv.ParseUint(value, 10, 64); err == nil && usec <= uint64(maxExtend/time.Microsecond) {
				m.Extend = time.Duration(usec) * time.Microsecond
			}
		}
	}
	return m
}

// printable makes a text harmless to a terminal and short.
func printable(s string) string {
	if len(s) > maxStatus {
		s = s[:maxStatus]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
