package hob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/ipc"
	"github.com/hobworks/hob/internal/probe"
	"github.com/hobworks/hob/internal/upgrade"
	"github.com/hobworks/hob/internal/version"
)

const (
	// quietTime is what calls that are under way have to end before the daemon becomes another program. Meanwhile other calls wait.
	quietTime = 5 * time.Second

	codeAgain    = "again"     // see Request.Handover
	codeSessions = "sessions"  // somebody has one that an upgrade would end
	codeBroken   = "broken"    // the new program is not one that can take over
	codeOutdated = "too_old"   // the new program is an older one
	codeUnending = "upgrading" // somebody else's upgrade is under way
)

// upgradeParams ask for an upgrade.
type upgradeParams struct {
	Program string `json:"program"` // a path
	Build   string `json:"build"`   // of the client
	Nonce   string `json:"nonce"`   // of this request alone

	Explicit bool `json:"explicit,omitempty"` // also where the daemon is as new already
}

// upgradeResult tells what came of it.
type upgradeResult struct {
	From    string `json:"from"`              // the build before
	Build   string `json:"build"`             // the one of now
	Retired bool   `json:"retired,omitempty"` // the daemon leaves, and another can be started when the lock is free
}

// upgrader is what a server knows of its upgrades.
type upgrader struct {
	requests chan upgradeRequest
	turn     chan struct{} // full while somebody's program is tried, or replaces this one

	umu     sync.Mutex // guards all below
	yield   chan struct{}
	outcome outcome
}

// upgradeRequest is one whose program was tried.
type upgradeRequest struct {
	program, build, nonce string
}

// outcome is what came of the last upgrade.
type outcome struct {
	Nonce   string    `json:"nonce"`
	Program string    `json:"program"`
	From    string    `json:"from"`
	At      time.Time `json:"at"`
	Error   *Error    `json:"error,omitempty"`
}

func (u *upgrader) init() {
	u.requests, u.turn, u.yield = make(chan upgradeRequest), make(chan struct{}, 1), make(chan struct{})
}

// yielding is closed when calls that only wait are to end.
func (u *upgrader) yielding() chan struct{} {
	u.umu.Lock()
	defer u.umu.Unlock()
	return u.yield
}

func (u *upgrader) settled(nonce string) (o outcome, ok bool) {
	u.umu.Lock()
	defer u.umu.Unlock()
	return u.outcome, nonce != "" && u.outcome.Nonce == nonce
}

func (u *upgrader) settle(o outcome) {
	u.umu.Lock()
	defer u.umu.Unlock()
	u.outcome = o
}

// againTime is for how long an upgrade that came to nothing is not tried again for another client that wants it by itself: each try
// has everybody wait.
const againTime = 10 * time.Second

// failedJustNow is what became of the program then; nil: nothing is known against it.
func (u *upgrader) failedJustNow(program string) *Error {
	u.umu.Lock()
	defer u.umu.Unlock()
	if since := time.Since(u.outcome.At); u.outcome.Program != program || since >= againTime || since < 0 { // the clock was set back
		return nil
	}
	return u.outcome.Error
}

// unyield is for when nothing came of it. Who waits for it is told the outcome.
func (u *upgrader) unyield() {
	u.umu.Lock()
	defer u.umu.Unlock()
	if !isClosed(u.yield) {
		close(u.yield)
	}
	u.yield = make(chan struct{})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// upgradeCall tries the program and hands the request over. The answer is given by the program that the daemon becomes: the call is made
// once more then.
func (s *server) upgradeCall(ctx context.Context, p upgradeParams) (r upgradeResult, err error) {
	if o, ok := s.settled(p.Nonce); ok {
		if o.Error != nil {
			return r, wireError(o.Error)
		}
		return upgradeResult{From: o.From, Build: s.o.Build}, nil
	}
	if why := s.conns.leaving(); why != "" {
		return r, wireError(&Error{Code: "draining", Message: "upgrade the daemon: it is leaving: " + why})
	}
	if order, ok := version.Compare(p.Build, s.o.Build); ok && order < 0 {
		return r, wireError(tooOld(s.o.Build, p.Build))
	}
	if order, ok := version.Compare(p.Build, s.o.Build); !p.Explicit && ok && order == 0 {
		return upgradeResult{From: s.o.Build, Build: s.o.Build}, nil // somebody else was quicker
	}
	if s.o.Handover == nil {
		return s.retireFor(ctx, p)
	}
	yield := s.yielding()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-yield: // somebody else was quicker: what is to be done then is for the next program to say
		return r, ipc.ErrAgain
	case <-ctx.Done():
		return r, ctx.Err()
	}
	if isClosed(yield) { // of two channels that are ready, select takes any
		return r, ipc.ErrAgain
	}
	if e := s.failedJustNow(p.Program); e != nil && !p.Explicit {
		return r, wireError(e)
	}
	if err := s.try(ctx, p.Program); err != nil {
		s.log.Warn("upgrade", "program", p.Program, "err", err)
		return r, wireError(err)
	}
	select {
	case s.requests <- upgradeRequest{p.Program, p.Build, p.Nonce}:
	case <-yield:
		return r, ipc.ErrAgain
	case <-ctx.Done():
		return r, ctx.Err()
	}
	<-yield
	return r, ipc.ErrAgain
}

func tooOld(daemon, client string) *Error {
	return &Error{Code: codeOutdated, Message: fmt.Sprintf("upgrade the daemon: it is %s, which is newer than %s", daemon, client),
		Hint: "use the newer one, or replace it by the older one with \"hob daemon restart\""}
}

// retireFor is for a daemon that can't be another program in place.
func (s *server) retireFor(ctx context.Context, p upgradeParams) (r upgradeResult, err error) {
	conn, _ := ctx.Value(connKey{}).(*ipc.Conn)
	if names := s.conns.sessions(conn); len(names) > 0 {
		return r, wireError(s.inUse(p.Build, names))
	}
	s.ask(stopRequest{Reason: "to be replaced by " + p.Build, Keep: true})
	return upgradeResult{From: s.o.Build, Build: p.Build, Retired: true}, nil
}

// inUse names those who would lose something.
func (s *server) inUse(to string, names []string) *Error {
	e := &Error{Code: codeSessions, Message: fmt.Sprintf("upgrade the daemon from %s to %s: in use by %s", s.o.Build, to, strings.Join(names, ", ")),
		Hint: "try again when that is over"}
	if s.inst.Name == "" {
		e.Hint += ", or use it as it is, with --no-spawn"
	}
	return e
}

// try finds out whether the program can take over, in a process of its own.
func (s *server) try(ctx context.Context, program string) error {
	broken := func(format string, args ...any) error {
		return &Error{Code: codeBroken, Message: fmt.Sprintf("upgrade the daemon: "+format, args...),
			Hint: "nothing was changed; see what \"" + program + " --selftest\" says"}
	}
	if !strings.HasPrefix(program, "/") {
		return broken("%q is not an absolute path", program)
	}
	r, err := upgrade.Trial(ctx, s.origin, successor(program), os.Environ())
	switch {
	case err != nil:
		return broken("%v", err)
	case r.ID != s.inst.ID:
		return broken("%s would serve the instance %s, not %s", program, r.ID, s.inst.ID)
	case r.Protocol[1] < probe.MinProtocol || r.Protocol[0] > probe.MaxProtocol:
		return broken("%s speaks the protocols %d to %d, and this daemon's clients %d to %d", program, r.Protocol[0], r.Protocol[1],
			probe.MinProtocol, probe.MaxProtocol)
	}
	if order, ok := version.Compare(r.Build, s.o.Build); ok && order < 0 {
		return broken("%s is %s, which is older than %s", program, r.Build, s.o.Build)
	}
	return nil
}

// successor is how the program is executed: as this one was.
func successor(program string) []string { return append([]string{program}, os.Args[1:]...) }

// upgrade has this process become the program. It returns nil when everything goes on as it was, and then the outcome says why; and
// an error when what the daemon runs was let go of and nobody could be executed.
func (s *server) upgrade(ctx context.Context, r upgradeRequest) error {
	began := time.Now()
	s.log.Info("upgrading", "program", r.program, "from", s.o.Build)
	s.mu.Lock() // the socket stays as it is meanwhile
	defer s.mu.Unlock()
	quiet, cancel := context.WithTimeout(ctx, quietTime)
	defer cancel()
	h, files, err := s.quiesce(quiet)
	if err == nil {
		h.Outcome = outcome{Nonce: r.nonce, Program: r.program, From: s.o.Build, At: began}
		var own map[string]*os.File
		if own, err = s.o.Handover(ctx, r.program); err == nil {
			h.Stop = s.stopping(ctx)
			return s.become(r, h, s.bundle(files, own), began)
		}
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Code: "failed", Message: "upgrade the daemon: " + err.Error(), Hint: "nothing was changed"}
	}
	s.log.Warn("not upgraded", "err", err)
	s.settle(outcome{Nonce: r.nonce, Program: r.program, From: s.o.Build, At: time.Now(), Error: e})
	for _, f := range files {
		f.Close()
	}
	s.unyield()
	s.resume()
	return nil
}

// stopping is a request to stop that has come meanwhile: the next program is to do it.
func (s *server) stopping(ctx context.Context) *stopRequest {
	if ctx.Err() != nil {
		return &stopRequest{Reason: context.Cause(ctx).Error()}
	}
	return s.stops.pending()
}

// bundle puts the files of both together.
func (s *server) bundle(files, own map[string]*os.File) map[string]*os.File {
	for name, f := range own {
		files[ownPrefix+name] = f
	}
	return files
}

// become executes the program; else this one anew, which then knows why.
func (s *server) become(r upgradeRequest, h *heritage, files map[string]*os.File, began time.Time) error {
	h.Began = began
	fault.Point("daemon.upgrade.exec")
	_ = os.Chdir(s.origin) // its arguments may be relative to it
	err := execute(successor(r.program), h, files)
	s.log.Error("upgrade", "program", r.program, "err", err)
	h.Outcome.Error = &Error{Code: codeBroken, Message: "upgrade the daemon: " + err.Error(), Hint: "it goes on as it was"}
	self := "/proc/self/exe"
	if _, serr := os.Stat(self); serr != nil {
		self, _ = os.Executable()
	}
	err = execute(successor(self), h, files)
	s.log.Error("execute this program anew", "err", err)
	s.abandon()
	return err
}

func execute(argv []string, h *heritage, files map[string]*os.File) error {
	state, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return upgrade.Exec(argv, os.Environ(), upgrade.Bundle{Files: files, State: state})
}
