package sdnotify

import (
	"net"
	"os"
	"strings"
	"time"
)

// Env is the variable with which a manager says where it is told: sd_notify(3).
const Env = "NOTIFY_SOCKET"

// Sender is the service's side of sd_notify(3): it tells the manager of this process. Its methods may be called by several goroutines. A nil
// Sender has no manager, and tells nobody.
type Sender struct{ addr string }

// NewSender is for the manager that addr names, the value of Env: the absolute path of a datagram socket, or an abstract name that begins with
// "@". It is nil for "" and for what is neither.
func NewSender(addr string) *Sender {
	if len(addr) < 2 || addr[0] != '/' && addr[0] != '@' {
		return nil
	}
	return &Sender{addr: addr}
}

// Send sends assignments, such as "READY=1", in one datagram. A line break within one would begin another, and becomes a space. It
// waits while the manager's queue is full, a second at most. An error says that nobody was told.
func (s *Sender) Send(assignments ...string) error {
	if s == nil {
		return nil
	}
	name, release, err := reachable(s.addr)
	if err != nil {
		return err
	}
	defer release()
	// A connection for each: a manager that was restarted has another socket.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	for i, a := range assignments {
		assignments[i] = strings.ReplaceAll(a, "\n", " ")
	}
	_, err = conn.Write([]byte(strings.Join(assignments, "\n")))
	return err
}

// FromEnv is NewSender with what this process was given.
func FromEnv() *Sender { return NewSender(os.Getenv(Env)) }
