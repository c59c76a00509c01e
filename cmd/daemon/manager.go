package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/sdnotify"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/version"
)

// manager is who started this hobd in the foreground and is told how it is, by sd_notify(3): systemd, as a rule. A nil one is nobody.
type manager struct {
	sender *sdnotify.Sender
	list   func() []service.Status
	log    *slog.Logger

	changes chan struct{} // something may be different
	mu      sync.Mutex    // guards leaving: nothing is said after STOPPING=1 but that
	leaving bool
}

// newManager is nil for a hobd in the background, which has none whatever its environment says, and where there is none.
func newManager(foreground bool, list func() []service.Status, log *slog.Logger) *manager {
	sender := sdnotify.FromEnv()
	if !foreground || sender == nil {
		return nil
	}
	return &manager{sender: sender, list: list, log: log, changes: make(chan struct{}, 1)}
}

func (m *manager) send(assignments ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leaving {
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
}

// reloading is called before the project's file is read again, and gives what is to be called after it.
func (m *manager) reloading() (done func()) {
	if m == nil {
		return func() {}
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	m.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
	return func() { m.send("READY=1", "STATUS="+summary(m.list())) }
}

func (m *manager) stopping() {
	if m == nil {
		return
	}
	m.send("STOPPING=1", "STATUS=stopping")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = true
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
				part += " (" + strings.Join(names, " ") + ")"
			}
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

// takeOverTries is how often a hobd that a manager has started has another one retire: a client can always be quicker.
const takeOverTries = 5

// relieve has a hobd in the background leave, and keep what runs, for one that a manager has started: the manager would see its own fail,
// again and again, as long as the other one serves.
func (d *daemon) relieve(ctx context.Context) error {
	c, err := hob.Dial(ctx, hob.Instance{Dir: d.inst.Root.Path},
		&hob.DialOptions{Client: "hobd", Build: version.String(), NoSpawn: true, NoLease: true})
	if e, ok := errors.AsType[*hob.Error](err); ok && e.Code == "not_running" {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	d.log.Info("a hobd in the background leaves for this one", "pid", c.Welcome().Pid)
	return c.Stop(ctx, true)
}
