package hob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/version"
)

// Upgrade has the daemon become another program, of the same kind and not of a lower version, and waits until it has: in place, so
// that it keeps its pid, its lock, its socket, what it runs and every connection, this one as well. The program is tried first. When it
// can't take over, or somebody's call does not end, the error says so and nothing is different from before. A daemon that can't do it in place leaves
// instead, what it runs is left for the next one, and the error has the Code "retired". build is the caller's version; from is that of the daemon before.
func (c *Client) Upgrade(ctx context.Context, program, build string) (from string, err error) {
	path, err := absolute(program)
	if err != nil {
		return "", &Error{Code: codeBroken, Message: "upgrade the daemon: " + err.Error(), Err: err}
	}
	old := *c.welcome.Load()
	w, retired, err := askUpgrade(ctx, c.conn, c.inst, old, upgradeParams{Program: path, Build: build, Explicit: true})
	if err == nil && retired {
		err = &Error{Code: "retired", Message: "the daemon can't be upgraded in place: it has left"}
	}
	if err == nil {
		c.welcome.Store(&w)
	}
	return old.Build, err
}

// askUpgrade has the daemon at the other end of conn replaced. Either it is another one now, which w describes, or it has left.
func askUpgrade(ctx context.Context, conn *ipc.Conn, inst instance.Instance, old probe.Welcome, p upgradeParams) (w probe.Welcome, retired bool, err error) {
	if err := nested(inst); err != nil {
		return old, false, err
	}
	attempt := lastAttempt(inst)
	p.Nonce = rand.Text()
	r, err := upgradeMethod.Call(ctx, conn, p)
	err = answerError("upgrade the daemon", err)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == "no_such_method" { // one from before there were upgrades
		_, err = probe.RetireMethod.Call(ctx, conn, probe.Retire{Reason: "to be replaced by " + p.Build, Client: "hob"})
		err, r.Retired = answerError("retire the daemon", err), true
	}
	switch {
	case err != nil:
		return old, false, err
	case r.Retired:
		return old, true, waitGone(ctx, inst, attempt)
	}
	w, err = greetAgain(ctx, conn, old)
	return w, false, answerError("upgrade the daemon", err)
}

// greetAgain learns who the daemon is by now.
func greetAgain(ctx context.Context, conn *ipc.Conn, w probe.Welcome) (probe.Welcome, error) {
	st, err := statusMethod.Call(ctx, conn, struct{}{})
	if err == nil {
		w.Build, w.Pid, w.StartedAt = st.Version, st.Pid, st.StartedAt
	}
	return w, err
}

// nested is the error for one who runs inside a service of the daemon that is to be replaced.
func nested(inst instance.Instance) error {
	id, service, _ := strings.Cut(os.Getenv("HOB_ID"), "/")
	if id != inst.ID {
		return nil
	}
	service, _, _ = strings.Cut(service, "/")
	return &Error{Code: "nested", Message: fmt.Sprintf("upgrade the daemon of %s: this is its own service %q", inst.Root.Path, service),
		Hint: "do it from outside, or use the same version inside"}
}

// renew has a daemon of a lower version replaced. again means: connect anew.
func (d *dialer) renew(ctx context.Context, conn *ipc.Conn, r *probe.Report) (again bool, err error) {
	order, ok := version.Compare(r.Welcome.Build, d.o.Build)
	if !ok || order >= 0 || d.renewed || d.o.NoSpawn || len(d.starter.Command.Argv) == 0 {
		return false, nil
	}
	d.renewed = true
	if err := d.program(); err != nil {
		return false, err
	}
	d.patience.extend()
	if d.hello.Stream {
		return true, d.renewBeside(ctx, conn)
	}
	w, retired, err := askUpgrade(ctx, conn, d.inst, r.Welcome, upgradeParams{Program: d.starter.Command.Argv[0], Build: d.o.Build})
	if e, ok := errors.AsType[*Error](err); ok && (e.Code == "lost" || e.Code == "draining") {
		return true, nil
	}
	r.Welcome = w
	return retired, err
}

// renewBeside is renew for one whose connection is the program's own by now: it asks on another one.
func (d *dialer) renewBeside(ctx context.Context, own *ipc.Conn) error {
	_ = own.Close()
	h, o := d.hello, d.conn
	h.Stream, h.Lease, o.Once = false, false, false
	conn, r := probe.Contact(ctx, d.inst, h, o)
	if r.Verdict != probe.Ready {
		return nil // connect anew, and see
	}
	defer conn.Close()
	_, _, err := askUpgrade(ctx, conn, d.inst, r.Welcome, upgradeParams{Program: d.starter.Command.Argv[0], Build: d.o.Build})
	if e, ok := errors.AsType[*Error](err); ok && (e.Code == "lost" || e.Code == "draining") {
		return nil
	}
	return err
}
