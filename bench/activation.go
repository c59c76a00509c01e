package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// activation measures from a connection to an idle service to its first byte, beside the bare fork and exec of the same
// program with the same socket: for one that begins to serve at once, and for one that takes 10 ms.
func activation(ctx context.Context, p place, o options) error {
	p.header("activation")
	for _, warmUp := range []time.Duration{0, 10 * time.Millisecond} {
		if err := p.demand("25ms", greetVerb, warmUp.String()); err != nil {
			return err
		}
		addr, err := p.up1(ctx)
		if err != nil {
			return err
		}
		var floor, ours sample
		for range o.runs {
			d, err := p.bareGreet(ctx, warmUp)
			if err != nil {
				return err
			}
			floor = append(floor, d)
			if err := p.untilIdle(ctx); err != nil {
				return err
			}
			if d, err = firstByte("unix", addr); err != nil {
				return err
			}
			ours = append(ours, d)
		}
		var most *aim
		if warmUp >= 10*time.Millisecond {
			most = times(1.2)
		}
		p.line(fmt.Sprintf("first byte, %v to start  fork, exec", warmUp), floor)
		p.compare(fmt.Sprintf("first byte, %v to start  hob", warmUp), ours, floor, most)
		if _, err := p.time(ctx, "hob", "down"); err != nil {
			return err
		}
	}
	return nil
}

// The programs that bench itself can be: servers that take their socket by sd_listen_fds(3).
const (
	echoVerb  = "serve-echo"  // sends back what it gets
	greetVerb = "serve-greet" // sends a byte to each client; its argument is how long it takes to start
)

const demandName = "demand"

// serveAs runs one of them until it is killed.
func serveAs(verb string, args []string) error {
	if verb == greetVerb {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		time.Sleep(d)
	}
	l, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if verb == echoVerb {
				_, _ = io.Copy(c, c)
				return
			}
			_, _ = c.Write([]byte{1})
		}()
	}
}

// demand makes the project have one service, on demand, that is bench as verb.
func (p place) demand(idle string, verb ...string) error {
	text := fmt.Sprintf("[services.%s]\nrun = [%q, ", demandName, filepath.Join(p.bin, "bench"))
	for _, arg := range verb {
		text += strconv.Quote(arg) + ", "
	}
	text += fmt.Sprintf("]\nlisten = \"unix:demand.sock\"\nidle = %q\n", idle)
	return os.WriteFile(filepath.Join(p.project, "hob.toml"), []byte(text), 0o644)
}

// up1 binds its socket, and says where.
func (p place) up1(ctx context.Context) (string, error) {
	_, err := p.ask(ctx, "up")
	return filepath.Join(p.project, "demand.sock"), err
}

func (p place) untilIdle(ctx context.Context) error {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s, err := p.ask(ctx, "ps")
		if err != nil {
			return err
		}
		if len(s.Services) == 1 && s.Services[0].State == "idle" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the service never was idle: %+v", s.Services)
		}
	}
}

// bareGreet is the floor: the connection is there, then the program is executed with the socket.
func (p place) bareGreet(ctx context.Context, warmUp time.Duration) (time.Duration, error) {
	path := filepath.Join(p.floor, "greet.sock")
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "bench"), greetVerb, warmUp.String())
	cmd.ExtraFiles, cmd.Env = []*os.File{f}, append(p.env, "LISTEN_FDS=1")
	began := time.Now()
	c, err := net.Dial("unix", path)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	took := time.Since(began)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return took, err
}

// firstByte connects and waits for one.
func firstByte(network, addr string) (time.Duration, error) {
	began := time.Now()
	c, err := net.Dial(network, addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return time.Since(began), err
}
