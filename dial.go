package hob

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/lock"
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/spawn"
)

// DialOptions are for Dial and DialConn; nil and the zero value are fine.
type DialOptions struct {
	// NoSpawn makes an absent daemon an error with Code "not_running". One that is starting is
	// waited for all the same. Nothing is created.
	NoSpawn bool

	// NoLease lets the daemon leave by itself while this connection lives: for one that only looks on.
	// A call under way keeps it even so; what goes on in a connection of DialConn does not.
	NoLease bool

	// Client says who asks, for people; "" is the name of the running program.
	Client string

	// Build is the version of this program, such as "v1.2.3". Where the daemon's, which Serve was told, is a lower one, Dial
	// has it replaced by the program of Instance.Command, once at most, and unless NoSpawn is set: in place, if it can do that. It is never
	// replaced by an older one. Versions that are not semantic ones are not compared, and told to people only.
	Build string

	// Progress is told how a start is getting on: each stage that the daemon reaches, such as "load".
	// Dial calls it, and goes on when it returns. nil: nobody is told.
	Progress func(stage string)

	// Notify takes the daemon's notifications, in order, on the connection's read loop: while
	// it runs nothing else is read, so it must not Call. nil: they are dropped. Not for DialConn.
	Notify func(method string, params json.RawMessage)
}

// The time that Dial takes at most when its context has no deadline.
const (
	dialPatience  = 10 * time.Second // for a daemon that is there
	startPatience = spawn.Patience   // for one that starts, and again after each sign of progress
	maxLost       = 8                // connections, in all, that end before a whole reply
	maxKilled     = 3                // daemons that are killed by a signal while they start
)

// Client is a connection to a daemon. Its methods may be called by several goroutines.
type Client struct {
	conn    *ipc.Conn
	inst    instance.Instance
	welcome atomic.Pointer[probe.Welcome]
}

// Dial connects to the instance's daemon, and starts it when there is none. It blocks until the
// daemon has said welcome, or it is known why it will not; or until ctx ends, or, when ctx has
// no deadline, for 10 s, or 30 s from the last sign of progress of a daemon that is starting.
// The error is an *Error. The caller closes the client.
func Dial(ctx context.Context, inst Instance, o *DialOptions) (*Client, error) {
	i, err := inst.resolve()
	if err != nil {
		return nil, err
	}
	d, err := newDialer(i, inst.Command, o)
	if err != nil {
		return nil, err
	}
	ctx, patience, end := withPatience(ctx, dialPatience)
	defer end()
	d.patience = patience
	conn, welcome, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, inst: i}
	c.welcome.Store(&welcome)
	return c, nil
}

// dialer is one call of Dial.
type dialer struct {
	inst     instance.Instance
	o        DialOptions
	hello    probe.Hello
	conn     ipc.ConnOptions
	starter  spawn.Starter
	patience *patience
	report   probe.Report // the last one
	renewed  bool         // an upgrade was asked for: once is enough
	lost     int
	killed   int
	pause    time.Duration
}

func newDialer(inst instance.Instance, command []string, o *DialOptions) (*dialer, error) {
	d := &dialer{inst: inst}
	if o != nil {
		d.o = *o
	}
	d.hello = hello(inst, d.o.Client, d.o.Build)
	d.hello.Lease = !d.o.NoLease
	d.conn = ipc.ConnOptions{Notify: d.o.Notify}
	d.starter = spawn.Starter{Instance: inst, Began: lock.Now(), Progress: d.progress}
	d.starter.Command.Argv = command
	return d, nil
}

func hello(inst instance.Instance, client, build string) probe.Hello {
	if client == "" && len(os.Args) > 0 {
		client = os.Args[0]
	}
	return probe.Hello{Protocol: [2]int{probe.MinProtocol, probe.MaxProtocol}, Build: build,
		Root: inst.Root, Pid: os.Getpid(), Client: client}
}

func (d *dialer) progress(stage string) {
	d.patience.extend()
	if d.o.Progress != nil {
		d.o.Progress(stage)
	}
}

// dial goes round: connect; when nobody listens, the lock; when that is held, wait.
func (d *dialer) dial(ctx context.Context) (*ipc.Conn, probe.Welcome, error) {
	for {
		fault.Point("client.connect")
		conn, r := probe.Contact(ctx, d.inst, d.hello, d.conn)
		d.report = r
		err := error(nil)
		switch r.Verdict {
		case probe.Ready:
			again := false
			if again, err = d.renew(ctx, conn, &r); err == nil && !again {
				return conn, r.Welcome, nil
			}
			_ = conn.Close()
		case probe.Lost:
			// Nothing was asked yet, so asking again is safe.
			if d.lost++; d.lost > maxLost {
				return nil, r.Welcome, verdictError(d.inst, r)
			}
		case probe.Busy, probe.Draining:
			err = d.wait(ctx)
		case probe.Absent:
			conn, r, err = d.start(ctx)
			if conn != nil {
				return conn, r.Welcome, nil
			}
		default:
			err = verdictError(d.inst, r)
		}
		if err != nil {
			return nil, r.Welcome, d.explain(ctx, err)
		}
	}
}

// start makes the daemon be there, or waits for whoever has the lock. No connection and no
// error means: connect again.
func (d *dialer) start(ctx context.Context) (*ipc.Conn, probe.Report, error) {
	if d.o.NoSpawn {
		return nil, d.report, d.waitWithoutSpawn(ctx)
	}
	if err := d.program(); err != nil {
		return nil, d.report, err
	}
	d.patience.starting()
	if d.mutated() {
		return nil, d.report, d.wait(ctx)
	}
	c, err := d.starter.Start(ctx)
	if err == nil {
		return d.greet(ctx, c)
	}
	var f *spawn.Failure
	switch {
	case isHeld(err):
		if f := d.starter.Adopt(); f != nil {
			return nil, d.report, startError(d.inst, f)
		}
		return nil, d.report, d.wait(ctx)
	case errors.As(err, &f) && f.Failed != 0 && !f.Counted:
		// Killed by somebody's signal: that says nothing about the next one.
		if d.killed++; d.killed <= maxKilled {
			return nil, d.report, nil
		}
	case errors.Is(err, lock.ErrReplaced):
		return nil, d.report, d.wait(ctx)
	}
	return nil, d.report, startError(d.inst, err)
}

// greet says hello on the connection that the daemon was born with.
func (d *dialer) greet(ctx context.Context, c net.Conn) (*ipc.Conn, probe.Report, error) {
	conn, r := probe.Greet(ctx, ipc.NewConn(context.Background(), c, d.conn), 0, d.hello)
	switch r.Verdict {
	case probe.Ready, probe.Draining:
		return conn, r, nil
	case probe.Lost:
		// It came up and died. Not for ever: another start each time is a storm.
		if d.lost++; d.lost <= maxLost {
			return nil, r, nil
		}
	}
	return nil, r, verdictError(d.inst, r)
}

// waitWithoutSpawn waits while somebody holds the lock.
func (d *dialer) waitWithoutSpawn(ctx context.Context) error {
	state, err := d.inst.OpenState(false)
	if err != nil {
		return verdictError(d.inst, d.report)
	}
	defer state.Close()
	if held, pid := probe.Held(d.inst, state); held {
		d.report.Verdict, d.report.Pid = probe.Starting, pid
		d.patience.starting()
		return d.wait(ctx)
	}
	return verdictError(d.inst, d.report)
}

// program resolves the daemon's executable, once, and only when it is needed.
func (d *dialer) program() error {
	argv := d.starter.Command.Argv
	if len(argv) == 0 {
		return &Error{Verdict: string(probe.Absent), Code: "not_running",
			Message: "no daemon runs for " + d.inst.Root.Path + ", and there is no command to start one"}
	}
	path, err := absolute(argv[0])
	if err != nil {
		return &Error{Verdict: string(probe.Absent), Code: "start_failed", Err: err,
			Message: "find the daemon's program: " + err.Error(),
			Hint:    hint(d.inst, "install it beside the client, or name it with HOB_DAEMON", "")}
	}
	d.starter.Command.Argv = append([]string{path}, argv[1:]...)
	return nil
}

// wait pauses between two looks, 5 ms at first, 100 ms in the end.
func (d *dialer) wait(ctx context.Context) error {
	d.pause = min(max(d.pause*2, 5*time.Millisecond), 100*time.Millisecond)
	t := time.NewTimer(d.pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explain makes the end of patience an error about what was seen last.
func (d *dialer) explain(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	// Look once more, with a moment of its own: the report says who it is that we waited for.
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	d.hello.Stream = false // to ask is all
	r := probe.Probe(look, d.inst, d.hello)
	cause := context.Cause(ctx)
	switch r.Verdict {
	case probe.Ready:
		return &Error{Verdict: string(r.Verdict), Code: "timeout", Pid: r.Pid, Err: cause,
			Message: "connect to the daemon of " + d.inst.Root.Path + ": it answers only now that the time is over" + pidWords(r.Pid)}
	case probe.Absent, probe.Stale:
		r.Verdict = d.report.Verdict
	}
	out := verdictError(d.inst, r)
	if out.Err = cause; errors.Is(cause, context.DeadlineExceeded) && r.Verdict != probe.Unresponsive {
		out.Code = "timeout"
	}
	return out
}

// patience ends a Dial whose context has no deadline. Its end can be moved.
type patience struct {
	p        *probe.Patience // nil: the caller's deadline holds
	extended bool
}

func withPatience(ctx context.Context, d time.Duration) (context.Context, *patience, func()) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, &patience{}, func() {}
	}
	ctx, p := probe.WithPatience(ctx, d)
	return ctx, &patience{p: p}, p.Stop
}

// extend moves the end to startPatience from now.
func (p *patience) extend() {
	p.extended = true
	if p.p != nil {
		p.p.Reset(startPatience)
	}
}

// starting grants a start its time, once.
func (p *patience) starting() {
	if !p.extended {
		p.extend()
	}
}
