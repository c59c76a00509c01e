package sockets

import (
	"fmt"
	"net"
	"strings"
)

// TakenError says that somebody else listens where a service should.
type TakenError struct {
	Addr   string // host:port, or unix:PATH
	Holder Holder // Pid is 0 when it can't be seen
}

func (e *TakenError) Error() string {
	what := e.Addr
	if _, port, err := net.SplitHostPort(e.Addr); err == nil && !strings.HasPrefix(e.Addr, "unix:") {
		what = "port " + port
	}
	if e.Holder.Pid == 0 {
		return fmt.Sprintf("%s is held by a process of another user", what)
	}
	return fmt.Sprintf("%s is held by %s", what, e.Holder)
}
