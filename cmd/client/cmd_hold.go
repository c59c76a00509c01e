package client

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/api"
)

const holdForm = "hob hold [NAME…] [--pid PID | -- CMD…]"

func (a *app) cmdHold() *cobra.Command {
	var pid int
	dash := -1
	c := a.verb("hold [NAME…] [--pid PID | -- CMD…]", "Keep services from being stopped for being idle", func(ctx context.Context, args []string) error {
		return a.hold(ctx, args, dash, pid)
	})
	c.Example = `  hob hold web                # until Ctrl-C
  hob hold web --pid $$       # as long as this shell lives
  hob hold -- make test       # all of the project, as long as the command runs`
	c.Flags().IntVar(&pid, "pid", 0, "as long as the process `PID` lives; returns at once")
	c.ValidArgsFunction = a.serviceNames
	do := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if dash = c.ArgsLenAtDash(); c.Flags().Changed("pid") && pid < 1 {
			return usage(holdForm, "hold: --pid %d: not a process", pid)
		}
		return do(c, args)
	}
	return c
}

func (a *app) hold(ctx context.Context, args []string, dash, pid int) error {
	names, cmd := args, []string(nil)
	if dash >= 0 {
		names, cmd = args[:dash], args[dash:]
		if len(cmd) == 0 || cmd[0] == "" {
			return usage(holdForm, "hold: no command after \"--\"")
		}
	}
	switch {
	case pid != 0 && cmd != nil:
		return usage(holdForm, "hold: for a process or for a command, not both")
	case pid != 0:
		return a.with(ctx, a.dial, func(c *hob.Client) error {
			_, err := api.ServiceHold.Call(ctx, c, api.HoldParams{Names: names, Pid: pid})
			return err
		})
	}
	return a.holdWhile(ctx, names, cmd)
}

// holdWhile has the lease as long as the command runs, or until somebody has had enough.
func (a *app) holdWhile(ctx context.Context, names, cmd []string) error {
	lease, end := context.WithCancel(ctx)
	defer end()
	held, failed := make(chan struct{}), make(chan error, 1)
	once := sync.OnceFunc(func() { close(held) })
	go func() { failed <- a.keepHeld(lease, names, once) }()
	sig := make(chan os.Signal, 4)
	heed(sig, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(sig)
	select {
	case <-held:
	case err := <-failed:
		return err
	case <-sig:
		return nil
	}
	if cmd != nil {
		go a.holdAgain(lease, names, failed)
		return runHeld(cmd, sig)
	}
	what := strings.Join(names, ", ")
	if what == "" {
		what = "all of this project"
	}
	a.say("holding %s; Ctrl-C ends it", what)
	select {
	case err := <-failed:
		return err
	case <-sig:
		return nil
	}
}

// leasePause is how long a lease that was lost for good is given up before it is asked for again.
const leasePause = time.Second

// holdAgain says why there is no lease any more, and asks for it again, until ctx ends: the command runs on.
func (a *app) holdAgain(ctx context.Context, names []string, failed <-chan error) {
	var had atomic.Bool // a lease since it was said
	err, said := <-failed, ""
	for ctx.Err() == nil {
		if err != nil && (had.Swap(false) || err.Error() != said) {
			said = err.Error()
			a.words("hob: the services are not held any more, until that is mended: %s", said)
		}
		if !pause(ctx, leasePause) {
			return
		}
		err = a.keepHeld(ctx, names, func() { had.Store(true) })
	}
}

// runHeld runs the command and ends as it does. A signal from a terminal reaches it without us.
func runHeld(argv []string, sig <-chan os.Signal) error {
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-sig:
				if s != syscall.SIGINT {
					_ = c.Process.Signal(s)
				}
			case <-done:
				return
			}
		}
	}()
	err := c.Wait()
	close(done)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return status(128 + int(ws.Signal()))
	}
	return status(exit.ExitCode())
}

// keepHeld has a lease until ctx ends, through as many daemons as it takes. held is called each time that it is had.
func (a *app) keepHeld(ctx context.Context, names []string, held func()) error {
	for {
		err := a.holdOnce(ctx, names, held)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !isCode(err, codeLost) && !isCode(err, api.CodeDraining):
			return err
		}
		if !pause(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// holdOnce has the lease as long as one daemon lives.
func (a *app) holdOnce(ctx context.Context, names []string, held func()) error {
	b := *a // with its own ear
	b.notify = func(method string, _ json.RawMessage) {
		if method == api.ServiceHeld {
			held()
		}
	}
	return b.with(ctx, b.dial, func(c *hob.Client) error {
		_, err := api.ServiceHold.Call(ctx, c, api.HoldParams{Names: names})
		return err
	})
}
