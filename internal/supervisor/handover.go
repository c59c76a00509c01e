package supervisor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hobworks/hob/internal/proxy"
)

// linkFile is of the files that HandOver gives for a connection that hobd forwards: link/SERVICE/NUMBER/SIDE, and ",ended" behind
// it when that side has said all that it had to say.
const (
	linkFile   = "link/"
	clientSide = "client"
	otherSide  = "service"
	sideEnded  = ",ended"
)

// handoverTime is what both sides of a forwarded connection have to take what is on its way.
const handoverTime = time.Second

// HandOver is Close for a process that becomes another program, and gives what that one has to have to go on: Files, and the connections
// that are forwarded. The caller closes them.
func (s *Supervisor) HandOver() map[string]*os.File {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), handoverTime)
	defer cancel()
	files := map[string]*os.File{}
	var mu sync.Mutex // guards files
	var wg sync.WaitGroup
	for _, v := range s.services() {
		v.halt()
		if v.front.proxy == nil {
			continue
		}
		wg.Go(func() {
			given := linkFiles(v.name, v.front.proxy.HandOver(ctx))
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(files, given)
		})
	}
	wg.Wait()
	maps.Copy(files, s.Files())
	maps.DeleteFunc(files, func(_ string, f *os.File) bool { return f == nil })
	s.Close()
	return files
}

// Givable says what of Files can't be given now, for want of descriptors as a rule; nil: all can. Ask before HandOver, which would lose it.
func (s *Supervisor) Givable() error {
	all, err := s.duplicates()
	for _, f := range all {
		f.Close() // nil can be closed, too
	}
	return err
}

func linkFiles(service string, links []proxy.Link) map[string]*os.File {
	files := map[string]*os.File{}
	side := func(n int, name string, f *os.File, ended bool) {
		if ended {
			name += sideEnded
		}
		if f != nil {
			files[fmt.Sprintf("%s%s/%d/%s", linkFile, service, n, name)] = f
		}
	}
	for n, l := range links {
		side(n, clientSide, l.Client, l.ClientEnded)
		side(n, otherSide, l.Service, l.ServiceEnded)
	}
	return files
}

// linksOf are those of one service among files.
func linksOf(service string, files map[string]*os.File) map[string]proxy.Link {
	links := map[string]proxy.Link{}
	for name, f := range files {
		rest, ok := strings.CutPrefix(name, linkFile+service+"/")
		n, side, found := strings.Cut(rest, "/")
		if !ok || !found {
			continue
		}
		side, ended := strings.CutSuffix(side, sideEnded)
		l := links[n]
		if side == clientSide {
			l.Client, l.ClientEnded = f, ended
		} else {
			l.Service, l.ServiceEnded = f, ended
		}
		links[n] = l
	}
	return links
}

// goOnForwarding takes over the connections that the program before has forwarded. They may be of a socket that is not to be held any more: then there is
// a proxy without one, until the end of the run that is being stopped.
func (v *svc) goOnForwarding(files map[string]*os.File) {
	for _, l := range linksOf(v.name, files) {
		if l.Client == nil {
			continue
		}
		if v.front.proxy == nil {
			v.front.proxy, v.front.stale = proxy.New(v.dialBackend, nil), true
		}
		if err := v.front.proxy.Take(l, v.notPassedOn); err != nil {
			v.sup.o.Log.Error("go on forwarding a connection", "service", v.name, "err", err)
		}
	}
}

func (v *svc) notPassedOn(err error) {
	v.sup.o.Log.Warn("a connection could not be passed on", "service", v.name, "err", err)
}
