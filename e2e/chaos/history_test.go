//go:build linux

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// The witness asks, over the socket and by itself: which daemon are you? A daemon is known by the instant at which it came to be, which
// it says in its welcome; it does so under the lock, so of two daemons of a project one came to be, and served, entirely before the other.
//
// The register "who serves" can therefore only go up: once a later daemon has said welcome, an earlier one must not any more, on
// whatever connection. The witness keeps connections to every daemon it has met and asks on those as well, so two that serve at the same
// time are seen by the first answer of the older one, whoever has the socket's name. porcupine looks for an order in which the
// answers, each somewhere between its question and its arrival, make sense.

// register is that model. Its state and its outputs are instants, nanoseconds; an operation without an output saw nobody.
var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, _, output any) (bool, any) {
		who := output.(int64)
		return who >= state.(int64), who
	},
}

// history is that of one project.
type history struct {
	p       *project
	mu      sync.Mutex
	ops     []porcupine.Operation
	floor   int64 // the latest daemon in what was checked before
	floorAt int64 // and when its answer was there
	last    map[int64]bool
}

// most answers that are checked at once.
const most = 2000

func (h *history) add(client int, call, ret, who int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil {
		h.last = map[int64]bool{}
	}
	h.last[who] = true
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Call: call, Return: ret, Output: who})
	if len(h.ops) >= most {
		h.checkNow()
	}
}

func (h *history) check() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checkNow()
	h.p.mu.Lock()
	h.p.daemons += len(h.last)
	h.p.mu.Unlock()
}

// checkNow checks what was added since the last time, as the continuation of what came before: that is an answer like the others, which
// has come before any of them was asked for, unless one was on its way meanwhile.
func (h *history) checkNow() {
	if len(h.ops) == 0 {
		return
	}
	ops := slices.Clone(h.ops)
	if h.floor != 0 {
		ops = append(ops, porcupine.Operation{ClientId: 999, Call: h.floorAt - 1, Return: h.floorAt, Output: h.floor})
	}
	if !porcupine.CheckOperations(register, ops) {
		h.p.violated("%s: two daemons served at the same time: %s", h.p.kind.name, h.conflict(ops))
	}
	for _, op := range h.ops {
		if op.Output.(int64) > h.floor {
			h.floor, h.floorAt = op.Output.(int64), op.Return
		}
	}
	h.p.mu.Lock()
	h.p.checked += len(h.ops)
	h.p.mu.Unlock()
	h.ops = h.ops[:0]
}

// conflict names one pair of answers that can't be.
func (h *history) conflict(ops []porcupine.Operation) string {
	for _, a := range ops {
		for _, b := range ops {
			if a.Return < b.Call && a.Output.(int64) > b.Output.(int64) {
				return fmt.Sprintf("the daemon of %v answered until %v, that of %v was asked at %v and answered at %v", time.Unix(0, a.Output.(int64)),
					time.Duration(a.Return), time.Unix(0, b.Output.(int64)), time.Duration(b.Call), time.Duration(b.Return))
			}
		}
	}
	return "no pair of them, though"
}

// asker is a raw connection.
type asker struct {
	c   net.Conn
	r   *bufio.Reader
	now func() int64
}

func (p *project) connect() (*asker, error) {
	c, err := net.DialTimeout("unix", p.path("hob.sock"), time.Second)
	if err != nil {
		return nil, err
	}
	return &asker{c, bufio.NewReader(c), func() int64 { return int64(time.Since(p.began)) }}, nil
}

// answer is what a daemon says of itself.
type answer struct {
	call, ret, started int64
	pid                int
}

var errNoWelcome = errors.New("no welcome")

// hello asks once. The answer may come as late as it likes.
func (a *asker) hello() (w answer, err error) {
	if err := a.askOnly(&w); err != nil {
		return w, err
	}
	return w, a.answer(&w)
}

func (a *asker) askOnly(w *answer) error {
	w.call = a.now()
	_, err := a.c.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"hob.hello","params":{"protocol":[1,9],"client":"witness","lease":false}}` + "\n"))
	return err
}

func (a *asker) answer(w *answer) error {
	text, err := a.r.ReadBytes('\n')
	if err != nil {
		return err
	}
	w.ret = a.now()
	var m struct {
		Result struct {
			Welcome *struct {
				Pid     int       `json:"pid"`
				Started time.Time `json:"started_at"`
			} `json:"welcome"`
		} `json:"result"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	if m.Result.Welcome == nil {
		return errNoWelcome
	}
	w.pid, w.started = m.Result.Welcome.Pid, m.Result.Welcome.Started.UnixNano()
	return nil
}

// ask asks on a connection of its own each time, and keeps one to every daemon that it has not met before.
func (p *project) ask() {
	rng := rand.New(rand.NewPCG(p.Seed, p.seed+100))
	var wg sync.WaitGroup
	defer wg.Wait()
	var latest int64
	for p.ctx.Err() == nil {
		if a, err := p.connect(); err == nil {
			_ = a.c.SetDeadline(time.Now().Add(p.Patience))
			w, err := a.hello()
			if err == nil {
				p.saw(0, w)
			}
			if err == nil && w.started > latest && p.pinned.Load() < 8 {
				latest = w.started
				_ = a.c.SetDeadline(time.Time{})
				client := int(p.pinned.Add(1))
				wg.Go(func() { p.pin(a, client) })
			} else {
				a.c.Close()
			}
		}
		p.pause(time.Duration(2000+rng.IntN(6000)) * time.Microsecond)
	}
}

// pin asks again and again on the same connection until that ends.
func (p *project) pin(a *asker, client int) {
	defer p.pinned.Add(-1)
	defer a.c.Close()
	defer context.AfterFunc(p.ctx, func() { _ = a.c.SetDeadline(time.Now().Add(time.Second)) })()
	for p.ctx.Err() == nil {
		w, err := a.hello()
		switch {
		case err == nil:
			p.saw(client, w)
		case !errors.Is(err, errNoWelcome):
			return
		}
		p.pause(6 * time.Millisecond)
	}
}

func (p *project) saw(client int, w answer) {
	p.history.add(client, w.call, w.ret, w.started)
	p.lives.saw(w.pid)
}

// lives are the processes that have said welcome and were not seen to be gone. A daemon's lock is released by the end of its process and by
// nothing else, so when the next one answers, it has begun to end: the kernel says so.
type lives struct {
	p   *project
	mu  sync.Mutex
	all []proc
}

func (l *lives) saw(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(l.all, func(o proc) bool { return o.pid == pid }) {
		if now, ok := statOf(pid); ok && !now.gone {
			l.all = append(l.all, now)
		}
	}
	if len(l.all) < 2 {
		return
	}
	l.all = slices.DeleteFunc(l.all, func(o proc) bool { return !o.lives() })
	if len(l.all) > 1 {
		var pids []int
		for _, o := range l.all {
			pids = append(pids, o.pid)
		}
		l.p.violated("%s: daemons that serve, or have served and live on: pids %v (log %s)", l.p.kind.name, pids, l.p.logTail())
		l.all = l.all[:0]
	}
}

// logTail is the end of hobd.log, for messages.
func (p *project) logTail() string {
	text, _ := os.ReadFile(p.path("hobd.log"))
	return string(text[max(0, len(text)-1500):])
}

// TestHistoryKnowsWhatCanNotBe: an earlier daemon that answers after a later one has, whether or not a piece of the history was checked in between;
// not one whose answer was on its way.
func TestHistoryKnowsWhatCanNotBe(t *testing.T) {
	for name, c := range map[string]struct {
		second [2]int64 // of the earlier daemon: asked, answered; the later one's is from 10 to 20
		bad    bool
	}{
		"after":      {[2]int64{21, 30}, true},
		"meanwhile":  {[2]int64{19, 30}, false},
		"all around": {[2]int64{5, 30}, false},
		"before":     {[2]int64{5, 9}, false},
	} {
		for _, pieces := range []bool{false, true} {
			p := &project{harness: &harness{}, kind: &kind{name: name}}
			p.history.p = p
			p.history.add(1, 10, 20, 2000)
			if pieces {
				p.history.check()
			}
			p.history.add(2, c.second[0], c.second[1], 1000)
			p.history.check()
			require.Equal(t, c.bad, len(p.violations) > 0, "%s, in pieces: %v", name, pieces)
		}
	}
}
