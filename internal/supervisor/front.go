package supervisor

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/hobworks/hob/internal/activation"
	"github.com/hobworks/hob/internal/proxy"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/sockets"
)

// front is the socket that is held for a service, and what is known of those who connect to it. The service's
// goroutine owns it; socket and proxy have methods that others may call, too.
type front struct {
	sock  *activation.Socket // nil: none is held
	of    service.Listen     // the settings that it is of
	stale bool               // it is of settings that are not these any more, and the run that is being stopped has it
	proxy *proxy.Proxy       // nil: the service accepts by itself

	armed     bool // the poller tells of the next connection
	arrived   bool // one has come since the last look, or since the run began
	arrivedAt time.Time
	waited    activation.Queue // some connections that the run has found waiting; empty: none was seen yet
	took      bool             // the run has accepted one
	served    uint64           // connections that had been forwarded at the last look
	before    uint64           // and when the run began
	needed    time.Time        // when somebody needed the service last
}

// hold binds the socket that is to be held for the service, unless that is done.
func (v *svc) hold() error {
	v.unholdStale()
	l := v.st.Listen
	if !l.Held() || v.front.sock != nil {
		return nil
	}
	sock, err := activation.Listen(l.Network, l.Addr)
	if err != nil {
		return err
	}
	v.face(sock)
	return nil
}

// holdAgain is hold for a daemon that comes after another one, of which it got file, or nil.
func (v *svc) holdAgain(file *os.File) error {
	if file == nil {
		return v.hold()
	}
	defer file.Close()
	sock, err := activation.FromFile(file, v.st.Listen.Network, v.st.Listen.Addr)
	if err != nil {
		return errors.Join(err, v.hold())
	}
	v.face(sock)
	return nil
}

func (v *svc) face(sock *activation.Socket) {
	v.front = front{sock: sock, of: v.st.Listen, needed: time.Now()}
	if v.st.Listen.Proxy {
		v.front.proxy = proxy.New(v.dialBackend, nil)
	}
	v.st.Held = true
}

// unhold gives the socket up, for everybody who has it.
func (v *svc) unhold() {
	v.st.Held = false
	v.endForwarding()
	if v.front.sock != nil {
		v.front.sock.Release()
	}
	v.front = front{}
}

// unholdStale is for when nothing of the run is left.
func (v *svc) unholdStale() {
	if v.front.stale {
		v.unhold()
	}
}

// letGo is for a service that is not to be reached any more.
func (v *svc) letGo(event) { v.unhold() }

// leaveSocket lets go of the socket and leaves it to those who have a duplicate.
func (v *svc) leaveSocket() {
	v.endForwarding()
	if v.front.sock != nil {
		v.front.sock.Close()
	}
}

// endForwarding has nobody be let in any more, and ends those who were.
func (v *svc) endForwarding() {
	if v.front.sock != nil {
		v.sup.poller.Disarm(v.front.sock)
	}
	if v.front.proxy != nil {
		v.front.proxy.Close()
	}
}

// mind has the poller tell of the next connection, where that leads to something. It is called after each event.
func (v *svc) mind() {
	f := &v.front
	if f.sock == nil {
		return
	}
	var want bool
	switch {
	case v.st.State == service.Idle:
		want = true
	case f.proxy != nil && v.accepts():
		want = true
	case v.st.State == service.Backoff, f.proxy == nil && (v.st.State == service.Starting || v.st.State.Serving()):
		want = !f.arrived
	}
	switch {
	case want && !f.armed:
		f.armed = true
		v.sup.poller.Arm(f.sock, v.knock)
	case !want && f.armed:
		f.armed = false
		v.sup.poller.Disarm(f.sock)
	}
}

// accepts reports whether a connection to a proxied service can be passed on. Where nothing tells when it is ready, the
// proxy finds out by itself.
func (v *svc) accepts() bool {
	return v.st.State.Serving() || v.st.State == service.Starting && !v.readiness().Declared()
}

// knock says that a connection waits.
func (v *svc) knock() {
	select {
	case v.knocks <- struct{}{}:
	default:
	}
}

// acceptPause is how long it is until somebody is let in after that was not possible, for want of descriptors as a rule.
const acceptPause = 100 * time.Millisecond

// arrive is for a connection that has come while the service runs.
func (v *svc) arrive(event) {
	f := &v.front
	f.arrived, f.armed, f.arrivedAt = true, false, time.Now()
	switch {
	case f.proxy != nil:
		v.letIn()
	case !f.took && f.waited.Len() == 0:
		// Queues are first in, first out: if this one is not there any more, it was accepted.
		if q, err := f.sock.Queue(); err == nil {
			f.waited, f.took = q, q.Len() == 0
		}
	}
}

// letIn passes on all that wait.
func (v *svc) letIn() {
	for {
		conn, err := v.front.sock.Accept()
		switch {
		case err == nil:
			v.front.proxy.Serve(conn, v.notPassedOn)
			continue
		case !errors.Is(err, activation.ErrNone):
			v.sup.o.Log.Error("accept", "service", v.name, "err", err)
			v.front.armed = true // by the timer
			time.AfterFunc(acceptPause, v.knock)
		}
		return
	}
}

// hasten is for a connection that comes during a back-off.
func (v *svc) hasten(event) {
	v.front.arrived, v.front.armed = true, false
	if soon := time.Now().Add(impatient).UTC(); soon.Before(v.st.NextTry) {
		v.st.NextTry = soon
		v.retryLater()
	}
}

// fresh forgets what earlier runs came to.
func (f *front) fresh() {
	f.arrived, f.took, f.waited, f.needed = false, false, nil, time.Now()
	if f.proxy != nil {
		f.served = f.proxy.Served()
		f.before = f.served
	}
}

// greet notes what a run begins with.
func (v *svc) greet() {
	f := &v.front
	f.fresh()
	if f.sock != nil && f.proxy == nil {
		if q, err := f.sock.Queue(); err == nil {
			f.waited = q
		}
	}
}

// productive reports that the run which has just ended took a connection off the held socket.
func (v *svc) productive() bool {
	f := &v.front
	switch {
	case f.sock == nil:
		return false
	case f.proxy != nil:
		return f.proxy.Served() > f.before
	}
	select {
	case <-v.knocks:
		v.arrive(event{})
	default:
	}
	if !f.took && f.waited.Len() > 0 {
		now, err := f.sock.Queue()
		f.took = err == nil && f.waited.Took(now)
	}
	return f.took
}

// waiting reports that somebody waits to be served.
func (v *svc) waiting() bool {
	if v.front.sock == nil {
		return false
	}
	n, err := v.front.sock.Count()
	return err == nil && n.Waiting > 0
}

// backend settles where this run of a proxied service listens.
func (v *svc) backend() (env []string, err error) {
	v.st.Backend = service.Address{}
	l := v.st.Listen
	switch inner := (service.Spec{Ready: v.st.Ready}).Addr(); {
	case !l.Proxy:
	case l.To.Network != "":
		v.st.Backend = l.To
	case inner.Network != "":
		v.st.Backend = inner
	default:
		port, err := sockets.FreePort()
		if err != nil {
			return nil, err
		}
		v.st.Backend = service.Address{Network: "tcp", Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
		env = []string{"PORT=" + strconv.Itoa(port)}
	}
	return env, nil
}

// dialBackend connects to the run of now.
func (v *svc) dialBackend(ctx context.Context) (net.Conn, error) {
	to := v.status().Backend
	var d net.Dialer
	return d.DialContext(ctx, to.Network, to.Addr)
}

// readiness is how the service tells that it is ready: where a proxy forwards to a port, that has to accept.
func (v *svc) readiness() service.Readiness {
	r := v.st.Ready
	if !r.Declared() && v.st.Listen.Proxy && v.st.Backend.Network == "tcp" {
		r.TCP = v.st.Backend.Addr
	}
	return r
}
