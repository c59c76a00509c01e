package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/sdnotify"
	"github.com/hobworks/hob/internal/service"
)

// manager is who started this hobd in the foreground and is told how it is, by sd_notify(3): systemd, as a rule. A nil one is nobody.
type manager struct {
	sender *sdnotify.Sender
	inst   instance.Instance
	list   func() []service.Status
	log    *slog.Logger

	changes chan struct{} // something may be different
	reload  sync.Mutex    // held while the file is read again: what is told of one reload is told before the next
	mu      sync.Mutex    // guards leaving, replace: after STOPPING=1 nothing is said but that hobd is well
	leaving bool
	replace bool // what runs was left for the next hobd
}

// newManager is for a hobd in the foreground. It is nil where there is no manager, and for a person: terminals and editors that a manager has started
// give their NOTIFY_SOCKET on, and it does not mean what somebody types there.
func newManager(inst instance.Instance, list func() []service.Status, log *slog.Logger) *manager {
	sender := sdnotify.FromEnv()
	if sender == nil || byHand() {
		return nil
	}
	return &manager{sender: sender, inst: inst, list: list, log: log, changes: make(chan struct{}, 1)}
}

// byHand: this process has a terminal that it could hang up with. As pid 1 it may have one, too, for its services' sake.
func byHand() bool {
	if os.Getpid() == 1 {
		return false
	}
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false // ENXIO: tty(4)
	}
	_ = unix.Close(fd)
	return true
}

// exitReplace is the exit status of a hobd that has left what runs for the next one, which the manager is to start: RestartForceExitStatus= in the unit.
const exitReplace = 75 // EX_TEMPFAIL, sysexits.h(3head)

// exitStatus is for after an orderly stop.
func (m *manager) exitStatus() int {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.replace {
		return exitReplace
	}
	return 0
}

// idleExit is no reason to leave for a hobd that has a manager: that one decides.
func (m *manager) idleExit(c <-chan time.Duration) <-chan time.Duration {
	if m != nil {
		return nil
	}
	return c
}

func (m *manager) left() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leaving
}

func (m *manager) send(assignments ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sendLocked(assignments...)
}

func (m *manager) sendLocked(assignments ...string) {
	if m.leaving && assignments[0] != "WATCHDOG=1" {
		return
	}
	if err := m.sender.Send(assignments...); err != nil {
		m.log.Debug("tell the manager", "err", err)
	}
}

// ready says that hobd serves and what lives is adopted, and from then on what its services do.
func (m *manager) ready() {
	if m == nil {
		return
	}
	text := summary(m.list())
	m.send("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()), "STATUS="+text)
	go m.follow(text)
	if every := watchdogTime(); every > 0 {
		go m.guardDog(every)
	}
}

// reloading is called before the project's file is read again, and gives what is to be called after it.
func (m *manager) reloading() (done func()) {
	if m == nil {
		return func() {}
	}
	m.reload.Lock()
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	m.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
	return func() {
		m.send("READY=1", "STATUS="+summary(m.list()))
		m.reload.Unlock()
	}
}

// stopping is called before services are stopped, or with keep before they are left for the next hobd.
func (m *manager) stopping(keep bool) {
	if m == nil {
		return
	}
	text := "stopping"
	if keep {
		text = "leaving what runs for the next hobd"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sendLocked("STOPPING=1", "STATUS="+text)
	m.leaving, m.replace = true, keep
}

// changed does not wait.
func (m *manager) changed() {
	if m == nil {
		return
	}
	select {
	case m.changes <- struct{}{}:
	default:
	}
}

// gather is how long several changes become one message.
const gather = 100 * time.Millisecond

func (m *manager) follow(said string) {
	for range m.changes {
		time.Sleep(gather)
		if text := summary(m.list()); text != said {
			m.send("STATUS=" + text)
			said = text
		}
	}
}

// maxNames is how many services of one state are named.
const maxNames = 5

// summary is a line for people: how many services are how, and which of them are in trouble.
func summary(all []service.Status) string {
	if len(all) == 0 {
		return "no services"
	}
	counts := map[string]int{}
	trouble := map[string][]string{}
	for _, st := range all {
		word := string(st.State)
		counts[word]++
		switch st.State {
		case service.Failed, service.Backoff, service.Unready:
			trouble[word] = append(trouble[word], st.Name)
		}
	}
	var parts []string
	for _, state := range []service.State{service.Ready, service.Running, service.Idle, service.Starting, service.Waiting, service.Stopping,
		service.Stopped, service.Done, service.Unready, service.Backoff, service.Failed} {
		if n := counts[string(state)]; n > 0 {
			part := fmt.Sprintf("%d %s", n, state)
			if names := trouble[string(state)]; len(names) > 0 {
				part += " (" + strings.Join(names[:min(len(names), maxNames)], " ")
				if more := len(names) - maxNames; more > 0 {
					part += fmt.Sprintf(" and %d more", more)
				}
				part += ")"
			}
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}
