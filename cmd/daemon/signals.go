package daemon

import (
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
)

// signals are those that are caught.
type signals struct {
	c     chan os.Signal // requests; however many others come, none of these is dropped
	child chan os.Signal // SIGCHLD
	rest  chan os.Signal // nobody reads it
	ended chan struct{}  // closed when serve has returned

	mu   sync.Mutex // guards over
	over bool       // nothing is caught any more
}

// requests are the signals by which somebody wants something of hobd.
var requests = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT}

// catch catches those that mean something. Never signal.Ignore: SIG_IGN is inherited by services, whereas a
// caught signal is reset to its default by exec (signal(7)); also SIGHUP that nohup, or SIGINT that
// a shell's "&", made this process ignore.
func catch() *signals {
	s := &signals{c: make(chan os.Signal, 64), child: make(chan os.Signal, 1), rest: make(chan os.Signal), ended: make(chan struct{})}
	signal.Notify(s.c, requests...)
	signal.Notify(s.child, syscall.SIGCHLD)
	return s
}

// catchRest catches all others, so that none of them ends hobd. It is for later: the Go runtime switches threads twice for each, which takes
// longer than all else that a start does.
func (s *signals) catchRest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		signal.Notify(s.rest)
	}
}

// reactions are what signals lead to.
type reactions struct {
	stop       func(name string)
	hurry      chan<- struct{} // a second request to stop
	child      func()
	reload     func() // SIGHUP, unless a person's terminal hangs up with it
	foreground bool   // INT stops it, too
	terminal   bool   // a person started it: HUP stops it, too
	log        *slog.Logger

	stopping bool // it was asked for
}

// end lets every signal have its default action again, and returns when those that came before were handled.
func (s *signals) end() {
	s.mu.Lock()
	s.over = true
	for _, c := range []chan os.Signal{s.rest, s.child, s.c} { // in this order: else rest alone could get a request
		signal.Stop(c) // nothing is sent to it after that
	}
	s.mu.Unlock()
	close(s.c)
	<-s.ended
}

// serve handles signals until end.
func (s *signals) serve(r reactions) {
	defer close(s.ended)
	for {
		select {
		case <-s.child:
			r.child()
		case sig, open := <-s.c:
			if !open {
				if len(s.child) > 0 {
					r.child()
				}
				return
			}
			r.react(sig)
		}
	}
}

func (r *reactions) react(sig os.Signal) {
	switch {
	case sig == syscall.SIGQUIT, sig == syscall.SIGABRT: // a service manager sends the latter to what does not answer: systemd.service(5), WatchdogSignal=
		dump()
	case sig == syscall.SIGHUP && !r.terminal:
		go r.reload()
	case sig == syscall.SIGINT && !r.foreground:
		r.log.Debug("signal", "name", sig.String())
	case r.stopping:
		select {
		case r.hurry <- struct{}{}:
		default:
		}
	default:
		r.stopping = true
		r.stop(sig.String())
	}
}

// dump writes every goroutine's stack to stderr and ends the process as a crash would: what it
// runs goes on, for the next daemon.
func dump() {
	buf := make([]byte, 1<<20)
	os.Stderr.Write(buf[:runtime.Stack(buf, true)])
	os.Exit(2)
}
