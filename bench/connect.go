package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

const (
	pings = 2000 // round trips of one byte, of which one sample is made
	bulk  = 64   // MB there and back in one sample
)

// connect measures what hob connect adds between a program and a socket, beside socat, where that is installed, and nothing.
func connect(ctx context.Context, p place, o options) error {
	if err := p.demand("1h", echoVerb); err != nil {
		return err
	}
	addr, err := p.up1(ctx)
	if err != nil {
		return err
	}
	sides := []side{{"a direct connection", func() (*pipe, error) { return dialPipe(addr) }},
		{"hob connect", func() (*pipe, error) { return commandPipe(p.command(ctx, "hob", "connect", demandName)) }}}
	if path, err := exec.LookPath("socat"); err == nil {
		sides = append(sides, side{"socat", func() (*pipe, error) {
			return commandPipe(exec.CommandContext(ctx, path, "-", "UNIX-CONNECT:"+addr))
		}})
	}
	trips, rates := make([]sample, len(sides)), make([]sample, len(sides))
	for range o.rounds {
		for i, s := range sides {
			trip, took, err := s.measure(o.megabytes * bulk / 500)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			trips[i], rates[i] = append(trips[i], trip), append(rates[i], took)
		}
	}
	p.header("connect, a round trip of one byte")
	p.sides("round trip  ", sides, trips, times(0.5))
	p.header(fmt.Sprintf("connect, %d MB there and back", o.megabytes*bulk/500))
	p.sides("bulk  ", sides, rates, times(1))
	return nil
}

// sides compares each with the last one: socat, where it is there. What is aimed at holds for hob.
func (r *report) sides(what string, sides []side, all []sample, a *aim) {
	floor := all[len(all)-1]
	for i, s := range sides {
		switch {
		case i == len(sides)-1:
			r.line(what+s.name, all[i])
		case s.name == "hob connect":
			r.compare(what+s.name, all[i], floor, a)
		default:
			r.compare(what+s.name, all[i], floor, nil)
		}
	}
}

// side is one way to a socket.
type side struct {
	name string
	open func() (*pipe, error)
}

// measure gives the time of one round trip, and that of bulk there and back.
func (s side) measure(megabytes int) (trip, took time.Duration, err error) {
	c, err := s.open()
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	one := make([]byte, 1)
	if err := c.trip(one); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	for range pings {
		if err := c.trip(one); err != nil {
			return 0, 0, err
		}
	}
	trip = time.Since(began) / pings
	began = time.Now()
	err = c.both(int64(max(1, megabytes)) << 20)
	return trip, time.Since(began), err
}

// pipe is a way there and a way back.
type pipe struct {
	w     io.WriteCloser
	r     io.Reader
	close func() error
}

func dialPipe(addr string) (*pipe, error) {
	c, err := net.Dial("unix", addr)
	if err != nil {
		return nil, err
	}
	return &pipe{w: c, r: c, close: c.Close}, nil
}

func commandPipe(cmd *exec.Cmd) (*pipe, error) {
	cmd.Stderr = os.Stderr
	w, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &pipe{w: w, r: r, close: func() error { w.Close(); return cmd.Wait() }}, cmd.Start()
}

func (p *pipe) trip(one []byte) error {
	if _, err := p.w.Write(one); err != nil {
		return err
	}
	_, err := io.ReadFull(p.r, one)
	return err
}

// both writes n bytes and reads as many.
func (p *pipe) both(n int64) error {
	written := make(chan error, 1)
	go func() {
		_, err := io.CopyN(p.w, zeros{}, n)
		written <- err
	}()
	_, err := io.CopyN(io.Discard, p.r, n)
	return errors.Join(err, <-written)
}

// zeros is an endless source.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
