package hob

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/ipc"
)

// silentTime is how long a connection may exist without a first message.
const silentTime = 10 * time.Second

// connections are the open ones. The zero value is ready for use.
type connections struct {
	mu       sync.Mutex // guards all below
	all      map[*ipc.Conn]struct{}
	silent   []*ipc.Conn // that have not said anything yet, oldest first
	peers    map[*ipc.Conn]peer
	calls    map[*call]struct{} // under way
	came     uint64             // leases and calls, ever
	seen     uint64             // those of them that needed has told of
	draining string             // why the daemon leaves; "" while it stays
}

// peer is what a client said of itself.
type peer struct {
	Client string `json:"client,omitempty"`
	Pid    int    `json:"pid,omitempty"`
	Lease  bool   `json:"lease,omitempty"` // the daemon is not to leave by itself while the connection lives
}

func (p peer) String() string {
	if p.Pid == 0 {
		return "a client"
	}
	return fmt.Sprintf("%s (pid %d)", filepath.Base(p.Client), p.Pid)
}

// call is one that is being answered.
type call struct {
	conn   *ipc.Conn
	method string
	began  time.Time
}

// most is how many connections are held at once: half of what the process may open.
func most() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 512
	}
	return int(min(r.Cur/2, 4096))
}

var maxConnections = sync.OnceValue(most)

// add admits c; where there are too many, the one that has been silent longest has to go, and
// c itself when none is silent.
func (cs *connections) add(c *ipc.Conn, p peer) (evicted *ipc.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.all == nil {
		cs.all, cs.peers = map[*ipc.Conn]struct{}{}, map[*ipc.Conn]peer{}
	}
	cs.all[c] = struct{}{}
	cs.peers[c] = p
	cs.silent = append(cs.silent, c)
	if len(cs.all) <= maxConnections() {
		return nil
	}
	evicted = cs.silent[0]
	cs.drop(evicted)
	return evicted
}

func (cs *connections) drop(c *ipc.Conn) {
	delete(cs.all, c)
	delete(cs.peers, c)
	cs.unsilence(c)
}

func (cs *connections) unsilence(c *ipc.Conn) {
	for i, s := range cs.silent {
		if s == c {
			cs.silent = append(cs.silent[:i], cs.silent[i+1:]...)
			return
		}
	}
}

func (cs *connections) spoke(c *ipc.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.unsilence(c)
}

func (cs *connections) remove(c *ipc.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.drop(c)
}

func (cs *connections) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.all)
}

// meet notes who c is. A lease, which has the daemon stay while c lives, is refused, with the reason, by one that leaves.
func (cs *connections) meet(c *ipc.Conn, p peer) (leaving string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, open := cs.all[c]; !open || cs.draining != "" {
		return cs.draining
	}
	cs.peers[c] = p
	if p.Lease {
		cs.came++
	}
	return ""
}

// begin has the daemon stay until end. It is refused, with the reason, by one that leaves.
func (cs *connections) begin(c *ipc.Conn, method string) (under *call, leaving string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.draining != "" {
		return nil, cs.draining
	}
	if cs.calls == nil {
		cs.calls = map[*call]struct{}{}
	}
	under = &call{c, method, time.Now()}
	cs.calls[under] = struct{}{}
	cs.came++
	return under, ""
}

func (cs *connections) end(under *call) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.calls, under)
}

func (cs *connections) leases() (n int) {
	if fault.Mutant("leases are not counted") {
		return 0
	}
	for _, p := range cs.peers {
		if p.Lease {
			n++
		}
	}
	return n
}

// sessions names who has a lease or waits for an answer, except for one and those that have gone.
func (cs *connections) sessions(except *ipc.Conn) []string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var all []string
	busy := map[*ipc.Conn]bool{except: true}
	for c := range cs.calls {
		if c.conn != except {
			busy[c.conn] = true
			all = append(all, cs.tell(c))
		}
	}
	for c, p := range cs.peers {
		if p.Lease && !busy[c] && !c.HungUp() {
			all = append(all, p.String())
		}
	}
	slices.Sort(all)
	return all
}

// waiting names who waits for the answer to a call, and for which.
func (cs *connections) waiting() []string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var all []string
	for c := range cs.calls {
		all = append(all, cs.tell(c))
	}
	slices.Sort(all)
	return all
}

func (cs *connections) tell(c *call) string {
	return fmt.Sprintf("%v: %s for %.0fs", cs.peers[c.conn], c.method, time.Since(c.began).Seconds())
}

// list gives the open ones, with who they are.
func (cs *connections) list() map[*ipc.Conn]peer {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := map[*ipc.Conn]peer{}
	for c := range cs.all {
		all[c] = cs.peers[c]
	}
	return all
}

// who tells who c is, as far as it has said that by now.
func (cs *connections) who(c *ipc.Conn) peer {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.peers[c]
}

// needed reports that there is a lease or a call, or was since the last time, or somebody who is about to speak.
func (cs *connections) needed() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	since := cs.came != cs.seen
	cs.seen = cs.came
	return since || len(cs.calls) > 0 || cs.leases() > 0 || len(cs.silent) > 0
}

// drainIdle is drain, unless somebody has a lease, a call is under way, or somebody has come who has not spoken yet (else whoever starts a daemon and
// is not quick could have it leave again and again, TestWhoIsAboutToSpeakIsWaitedFor): whoever comes later is told, and goes to
// the next daemon. busy is asked last, when no call can begin any more.
func (cs *connections) drainIdle(why string, busy func() bool) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.calls) > 0 || cs.leases() > 0 || len(cs.silent) > 0 || cs.draining != "" || busy() {
		return false
	}
	cs.draining = why
	return true
}

// drain makes every hello and every call from now on be answered with draining.
func (cs *connections) drain(why string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.draining = why
}

func (cs *connections) leaving() string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.draining
}

// finish closes every connection, when what it asked is answered or ctx ends; more can't come.
func (cs *connections) finish(ctx context.Context) {
	cs.mu.Lock()
	all := slices.Collect(maps.Keys(cs.all))
	cs.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { _ = c.Finish(ctx) })
	}
	wg.Wait()
}
