package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

// The longest that hobd may be hard to find after somebody has removed its files or killed it.
const (
	mended   = time.Second
	replaced = 100 * time.Millisecond // of medians
)

// look is how often it is looked whether something is there again.
const look = 100 * time.Microsecond

// mend measures how long what somebody has removed is missing, and how long nobody answers after a SIGKILL of hobd. Nobody calls hob
// meanwhile: hobd and its sentry see it by themselves. There is no floor: a file that nobody looks after is missing for ever.
func mend(ctx context.Context, p place, o options) error {
	const few = 3
	if err := p.write(few, "", "sleep", "1000"); err != nil {
		return err
	}
	before, err := p.up(ctx, few)
	if err != nil {
		return err
	}
	s, err := p.start(ctx)
	if err != nil {
		return err
	}
	p.header(fmt.Sprintf("removed and killed, %d services", few))
	for _, loss := range []struct{ name, removed, awaited string }{
		{"rm of the socket → it is back", s.Daemon.Socket, s.Daemon.Socket},
		{"rm of the lock → there is another", s.Daemon.Lock, s.Daemon.Lock},
		{"rm of the directory → the socket is back", filepath.Dir(s.Daemon.Socket), s.Daemon.Socket},
	} {
		var took sample
		for range o.runs {
			d, err := p.lose(ctx, loss.removed, loss.awaited, s.Daemon.Pid)
			if err != nil {
				return fmt.Errorf("%s: %w", loss.name, err)
			}
			took = append(took, d)
		}
		p.within(loss.name, took, mended)
	}
	var took sample
	for i := range o.runs {
		d, err := p.lack(ctx, few)
		if err != nil {
			return err
		}
		took = append(took, d)
		now, err := p.ask(ctx, "ps")
		if err != nil {
			return err
		}
		if err := before.adopted(now, i+1); err != nil {
			return err
		}
		pause(ctx, rest)
	}
	const name = "SIGKILL of hobd → its next one answers"
	p.row(name, took, "", p.judge(name, fmt.Sprintf("≤ %v", replaced), took.median().Seconds(), replaced.Seconds()))
	return nil
}

// lose removes a file or a directory, and waits until awaited is there, and the same hobd behind it.
func (p place) lose(ctx context.Context, removed, awaited string, pid int) (time.Duration, error) {
	began := time.Now()
	if err := os.RemoveAll(removed); err != nil && !errors.Is(err, unix.ENOTEMPTY) { // hobd was quicker
		return 0, err
	}
	for {
		_, err := os.Lstat(awaited)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || time.Since(began) > patience {
			return 0, err
		}
		pause(ctx, look)
	}
	took := time.Since(began)
	s, err := p.ask(ctx, "daemon", "ping")
	if err == nil && s.Daemon.Pid != pid {
		err = fmt.Errorf("hobd has pid %d, not %d", s.Daemon.Pid, pid)
	}
	pause(ctx, rest)
	return took, err
}

// lack kills hobd, and waits until its successor tells of n services.
func (p place) lack(ctx context.Context, n int) (time.Duration, error) {
	s, err := p.ask(ctx, "daemon", "status")
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := unix.Kill(s.Daemon.Pid, unix.SIGKILL); err != nil {
		return 0, err
	}
	for {
		answer, err := p.services(ctx)
		if err == nil && len(answer) == n {
			return time.Since(began), nil
		}
		if time.Since(began) > patience {
			return 0, fmt.Errorf("nobody answers: %w", err)
		}
		pause(ctx, look)
	}
}

// services asks hobd, if there is one.
func (p place) services(ctx context.Context) ([]api.Service, error) {
	c, err := hob.Dial(ctx, hob.Instance{Dir: p.project}, &hob.DialOptions{NoSpawn: true, NoLease: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var answer api.ServicesResult
	err = c.Call(ctx, api.ServiceList.Name, api.NamesParams{}, &answer)
	return answer.Services, err
}
